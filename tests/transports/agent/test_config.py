"""est-agent.toml: what it says, and what is wrong with it, by line and key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from est_core import CodeSource, LocalProtocolError
from est_core.life_cycle import WhenExpired
from est_transports.agent.config import AGENT_FILE, asked_agent_keys, load_agent_settings
from est_transports.agent.settings import (
    AgentSettings,
    CertificateSettings,
    HookFailure,
    HookSettings,
)
from est_transports.toml.tables import ConfigError

TOP = 'url = "https://est.example"\ntrust = "ca.pem"\n'


def load(directory: Path, text: str) -> AgentSettings:
    path = directory / AGENT_FILE
    path.write_text(text)
    return load_agent_settings(path)


def one(directory: Path, text: str) -> CertificateSettings:
    (found,) = load(directory, text).certificates
    return found


def test_the_shortest_file_that_there_is(tmp_path: Path) -> None:
    found = one(tmp_path, f"{TOP}[certificate.gate]\n")
    assert (found.name, str(found.uri)) == ("gate", "https://est.example")
    assert found.trust_file == tmp_path / "ca.pem"
    assert found.subject == x509.Name([])
    assert (found.hook, found.verify_live, found.policy.rekey) == (None, False, True)
    assert found.policy.when_expired is WhenExpired.STOP


def test_what_a_certificate_says_goes_before_what_stands_at_the_top(tmp_path: Path) -> None:
    text = f"""{TOP}label = "plant"
user = "all"
password_file = "all.txt"
renew_at = 0.5
hook = ["/bin/all"]
when_expired = "renew"
[certificate.one]
cn = "one"
san = ["dns:one.example", "ip:192.0.2.1"]
subject = ["O=Example"]
[certificate.two]
url = "https://other.example"
label = "lab"
fingerprint = "{"ab" * 32}"
code_file = "code"
code_in = "otp"
renew_before_days = 30
hook = ["/bin/two", "it"]
hook_timeout_s = 5
hook_on_failure = "roll-back"
when_expired = "enroll"
rekey = false
clock_floor = "2026-11-28"
key_type = "ec:P-384"
verify_live = true
"""
    one_, two = load(tmp_path, text).certificates
    assert str(one_.uri) == "https://est.example/plant"
    assert one_.credentials.password_file == tmp_path / "all.txt"
    assert one_.policy.begin == 0.5
    assert one_.hook == HookSettings(command=("/bin/all",))
    assert one_.subject.rfc4514_string() == "CN=one,O=Example"
    assert [str(name.value) for name in one_.names] == ["one.example", "192.0.2.1"]
    assert str(two.uri) == "https://other.example/lab"
    assert (two.trust_file, two.fingerprint) == (None, "ab" * 32)
    assert (two.credentials.user, two.credentials.password_file) == ("", None)
    assert two.credentials.code_in is CodeSource.OTP_CHALLENGE
    assert two.policy.begin_before_s == 30 * 86400.0
    assert two.hook is not None
    assert (two.hook.command[1], two.hook.on_failure) == ("it", HookFailure.ROLL_BACK)
    assert (two.policy.when_expired, two.policy.rekey) == (WhenExpired.ENROLL, False)
    assert two.clock_floor == datetime(2026, 11, 28, tzinfo=UTC)
    assert (two.key_type, two.verify_live) == ("ec:P-384", True)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "has no certificate to look after"),
        (f'{TOP}[certificate.gate]\nusr = "a"\n', 4, "usr: unknown key; did you mean 'user'?"),
        (f"{TOP}certificate = 1\n", 3, "is not a table"),
        ('trust = "ca.pem"\n[certificate.gate]\n', 2, "url: is missing"),
        ('url = "http://x"\ntrust = "x"\n[certificate.gate]\n', 3, "is not one of https"),
        ('url = "coaps://x"\ntrust = "x"\n[certificate.gate]\n', 3, "over https"),
        ('url = "https://x"\n[certificate.gate]\n', 2, "one of trust and fingerprint"),
        (f'{TOP}fingerprint = "ab"\n[certificate.gate]\n', 4, "one of trust and fingerprint"),
        (f'{TOP}[certificate."../x"]\n', 3, "letters, digits"),
        (f"{TOP}renew_at = 1.5\n[certificate.gate]\n", 3, "renew_at: is not between 0 and 1"),
        (f"{TOP}[certificate.gate]\nrenew_at = 0.99\n", 3, "shares of a life"),
        (f"{TOP}[certificate.gate]\nrenew_at = true\n", 4, "is not a number"),
        (f"{TOP}renew_at = 0.5\nrenew_before_days = 3\n[certificate.gate]\n", 4, "exclude"),
        (f"{TOP}hook_timeout_s = 5\n[certificate.gate]\n", 3, "needs a hook"),
        (f'{TOP}hook = [""]\n[certificate.gate]\n', 3, "hook: is empty"),
        (f'{TOP}user = "a"\n[certificate.gate]\n', None, "a user has a password, or a code"),
        (f'{TOP}[certificate.gate]\npassword_file = "a"\n', 3, "a password is that of a user"),
        (f'{TOP}[certificate.gate]\ntoken_file = "a"\ncode_file = "b"\n', 3, "or a code"),
        (f'{TOP}[certificate.gate]\nidentity_key = "a"\n', 3, "a certificate and a key"),
        (f'{TOP}[certificate.gate]\ncode_in = "otp"\n', 3, "without a code"),
        (f'{TOP}[certificate.gate]\nsan = ["x"]\n', 4, "'x' is none of dns:..."),
        (f'{TOP}[certificate.gate]\nsan = ["ip:x"]\n', 4, "'ip:x'"),
        (f'{TOP}[certificate.gate]\nsubject = ["XY=z"]\n', 4, "no part of a subject"),
        (f'{TOP}[certificate.gate]\ncn = "{"x" * 65}"\n', 4, "has 1 to 64 characters"),
        (f'{TOP}[certificate.gate]\nkey_type = "dsa"\n', 4, "'dsa' is none of"),
        (f"{TOP}[certificate.gate]\nretry_first_s = 9\nretry_max_s = 3\n", 3, "at most retry_max"),
        (f'{TOP}[certificate.gate]\nwhen_expired = "no"\n', 4, "'no' is none of 'stop'"),
        (f'{TOP}proxy = "h"\n[certificate.gate]\n', 3, "proxy: a proxy is HOST:PORT"),
        (f'{TOP}[certificate.gate]\nproxy = "https://u:secret@h:1"\n', 4, "TLS to the proxy"),
        (f'{TOP}[certificate.gate]\nno_proxy = ["a"]\n', 4, "no_proxy: needs a proxy"),
        (f'{TOP}[certificate.gate]\nclock_floor = "soon"\n', 4, "clock_floor: is no moment"),
        (
            f'{TOP}[certificate.gate]\nclock_floor = "2026-11-28T12:00"\n',
            4,
            "clock_floor: is no moment",
        ),
        (f'{TOP}clock_floor = "0001-01-01T00:00+23:00"\n[certificate.gate]\n', 4, "is no moment"),
        (f"{TOP}[certificate.gate]\nconnect_s = 0\n", 4, "connect_s: is not more than 0"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_key(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_proxy_is_named_with_those_that_it_is_not_for(tmp_path: Path) -> None:
    text = f"""{TOP}proxy = "http://u:secret@proxy.example:3128"
no_proxy = ["10.0.0.0/8"]
[certificate.one]
[certificate.two]
proxy = "socks5h://other.example:1080"
"""
    one_, two = load(tmp_path, text).certificates
    assert one_.proxy is not None
    assert (str(one_.proxy), one_.proxy.password) == ("http://proxy.example:3128", "secret")
    assert one_.proxy.exceptions == ("10.0.0.0/8",)
    assert two.proxy is not None
    assert (str(two.proxy), two.proxy.exceptions) == ("socks5h://other.example:1080", ())
    assert "secret" not in repr(one_)


def test_every_key_of_a_certificate_but_its_names_may_stand_at_the_top() -> None:
    keys = asked_agent_keys()
    own = set(keys["certificate.NAME"]) - {"cn", "san", "subject"}
    assert own == set(keys[""]) - {"certificate"}


def test_settings_that_make_no_sense_are_refused_where_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="no certificate"):
        AgentSettings(directory=tmp_path, certificates=())
    gate = one(tmp_path, f"{TOP}[certificate.gate]\n")
    with pytest.raises(LocalProtocolError, match="one name"):
        AgentSettings(directory=tmp_path, certificates=(gate, gate))
    assert AgentSettings(directory=tmp_path, certificates=(gate,)).named("gate") is gate
    assert AgentSettings(directory=tmp_path, certificates=(gate,)).named("other") is None
    for command in ((), ("",), ("a\0b",)):
        with pytest.raises(LocalProtocolError, match="a hook"):
            HookSettings(command=command)
    with pytest.raises(LocalProtocolError, match="seconds"):
        HookSettings(command=("x",), timeout_s=0)
