"""Targets: what an agent keeps beside its certificates, and what people write for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

from est_core import Instant, LocalProtocolError
from est_core.life_cycle import CertificateLife, LifeCycle, RenewalPolicy
from est_transports.agent.config import AGENT_FILE, agent_settings_of
from est_transports.agent.saved import Failure, Saved, saved_of
from est_transports.toml.tables import ConfigError
from fuzz.target import Result, Shape, Target, accepted, passed, stopped

_FILE: Final = Path("/etc") / AGENT_FILE
_NOW: Final = Instant(mono=0.0, wall=datetime(2026, 1, 1, tzinfo=UTC))
_LIFE: Final = CertificateLife(
    not_before=datetime(2025, 12, 1, tzinfo=UTC), not_after=datetime(2026, 3, 1, tzinfo=UTC)
)
_EVERY: Final = b"""url = "https://est.example/label"
trust = "ca.pem"
user = "gate"
password_file = "password"
clock_floor = "2026-11-28"
proxy = "socks5h://proxy.example:1080"
no_proxy = ["10.0.0.0/8", ".example"]
connect_s = 5

[certificate.gate]
cn = "gate"
san = ["dns:gate.example", "ip:192.0.2.1"]
key_type = "EC P-256"
renew_at = 0.5
when_expired = "enroll"
hook = ["/bin/true", "x"]
hook_on_failure = "roll-back"

[certificate."other one"]
fingerprint = "00:11"
code_file = "code"
code_in = "otp"
renew_before_days = 30
key_uri = "pkcs11:token=t;object=o?pin-source=file:pin"
"""


def agent_toml(data: bytes) -> Result:
    """An est-agent.toml is refused by one line that names the file, or gives certificates."""
    try:
        settings = agent_settings_of(data.decode("utf-8", "surrogateescape"), _FILE)
    except UnicodeEncodeError:  # no file has these
        return stopped("is not UTF-8")
    except ConfigError as error:
        text = str(error)
        assert text.startswith((f"{_FILE}: ", f"{_FILE} line "))
        assert "\n" not in text
        words = " ".join(word for word in error.reason.split()[:4] if word.isalpha())
        return (stopped if error.reason.startswith("is not TOML") else passed)(words)
    names = [each.name for each in settings.certificates]
    assert names
    assert len(names) == len(set(names))
    assert all(name not in (".", "..") and "/" not in name for name in names)
    return accepted(f"{min(len(names), 3)} certificates")


def agent_state(data: bytes) -> Result:
    """A state is no state of an agent, or it is written as it was read, and leads to a step."""
    try:
        saved = saved_of(data.decode("utf-8", "replace"))
    except LocalProtocolError:
        return stopped("no state")
    assert saved_of(saved.text()) == saved
    if saved.cycle is None:
        return passed("nothing of a life")
    cycle = LifeCycle(
        RenewalPolicy(), _LIFE, now=_NOW, entropy=Random(1).randbytes, state=saved.cycle
    )
    return accepted(type(cycle.next_step(_NOW)).__name__)


def _states() -> tuple[bytes, ...]:
    """Return a state before there is a certificate, and one in which everything has happened."""
    cycle = LifeCycle(RenewalPolicy(), _LIFE, now=_NOW, entropy=Random(1).randbytes)
    fresh = Saved(cycle=cycle.state)
    cycle.failed("connect/refused", _NOW, retry_after_s=7.0)
    failure = Failure(code="connect/refused", message="nobody listens there", at=_NOW.wall)
    full = Saved(
        cycle=cycle.state,
        of="ab" * 32,
        hook_due="ab" * 32,
        hook_event="renewed",
        failure=failure,
        hook_failure=failure,
    )
    return (Saved().text().encode(), fresh.text().encode(), full.text().encode())


TARGETS: Final = (
    Target(
        run=agent_toml,
        gate="is TOML",
        goal="is settings",
        modules=("est_transports.agent.config", "est_transports.agent.settings"),
        seeds=lambda: (_EVERY, b'url = "https://e"\ntrust = "c"\n[certificate.g]\ncn = "g"\n'),
        shape=Shape.LINES,
        words=(
            *(b"[", b"]", b"=", b'"', b"#", b"\n", b".", b"true", b"1e400", b"nan", b"-1", b"\xff"),
            *(b"[certificate.x]\n", b"pkcs11:", b"socks4a://", b"coaps://", b"CN=", b"\\u0000"),
        ),
        max_bytes=16384,
    ),
    Target(
        run=agent_state,
        gate="is a state",
        goal="leads to a step",
        modules=("est_transports.agent.saved", "est_core.life_cycle.saved"),
        seeds=_states,
        shape=Shape.LINES,
        words=(
            *(b"null", b"true", b"1e400", b"-1", b"NaN", b"Infinity", b'""', b"[]", b"{}", b"\xff"),
            *(b"9999-12-31T23:59:59Z", b"0001-01-01T00:00:00+00:00", b"\\u0000", b"[[[[[["),
        ),
        max_bytes=16384,
    ),
)
