"""est-agent.toml: every key that there is, read into the values of `settings`.

What stands at the top holds for all certificates; what stands under [certificate.NAME] holds for
that one, instead. Of keys that belong together - how the server is trusted, how a device proves
itself the first time - a certificate's own replace all of those at the top. A key that is not known
is an error. The files that it names are not opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import CodeSource, EstUri, Label, LocalProtocolError, PopMode
from est_core.arguments import checked
from est_core.life_cycle import RenewalPolicy, WhenExpired
from est_transports.agent.settings import (
    HOOK_MAX_S,
    HOOK_S,
    AgentSettings,
    CertificateSettings,
    Credentials,
    HookFailure,
    HookSettings,
)
from est_transports.client_config import ClientTimeouts
from est_transports.pki.clock_floor import read_clock_floor
from est_transports.pki.csr_words import SAN_KINDS, subject_attribute
from est_transports.pki.new_keys import KEY_TYPES
from est_transports.toml.tables import Asked, TomlTable, read_toml, toml_of
from est_transports.tunnels.proxy import Proxy

AGENT_FILE: Final = "est-agent.toml"
DAY_S: Final = 86400.0
_TABLE: Final = "certificate"
_DAYS_MAX: Final = 3650
_CODE_IN: Final[Mapping[str, CodeSource | None]] = {
    "basic": None,
    "challenge": CodeSource.CHALLENGE_PASSWORD,
    "otp": CodeSource.OTP_CHALLENGE,
}
_TRUST: Final = ("trust", "fingerprint")
_CREDENTIALS: Final = (
    *("user", "password_file", "token_file", "code_file", "code_in"),
    *("identity_certificate", "identity_key"),
)
_HOOK: Final = ("hook", "hook_timeout_s", "hook_on_failure")
_WHEN: Final = ("renew_at", "renew_before_days")
_PROXY: Final = ("proxy", "no_proxy")


@checked
def load_agent_settings(path: Path) -> AgentSettings:
    """Return what a file says. Raises ConfigError, which names the file, line, key and reason.

    Relative paths in it start at its own directory, where the certificates live too.
    """
    return _read(read_toml(path))


def agent_settings_of(text: str, path: Path) -> AgentSettings:
    """Return what a text says that is to become the content of a file. Raises ConfigError."""
    return _read(toml_of(text.encode(), path))


def asked_agent_keys() -> Mapping[str, Mapping[str, Asked]]:
    """Return what is asked of each key of est-agent.toml, by table."""
    # With all that there may be, for what is not there is not asked for what belongs to it.
    content = {"url": "https://est.example", "trust": "ca.pem", _TABLE: {"NAME": {}}}
    top = TomlTable(Path(AGENT_FILE), "", content)
    _read(top)
    return top.asked()


def _read(top: TomlTable) -> AgentSettings:
    found = [_certificate(name, table, top) for name, table in top.tables(_TABLE)]
    if not found:
        raise top.error("", "has no certificate to look after: write [certificate.NAME]")
    with top.checks():
        settings = AgentSettings(directory=top.path.parent, certificates=tuple(found))
    top.done()
    return settings


class _Keys:
    """A certificate's table, and the top one for what does not stand there."""

    def __init__(self, own: TomlTable, top: TomlTable) -> None:
        self.own = own
        self._top = top

    def of(self, names: tuple[str, ...]) -> TomlTable:
        """Return the table that has keys which belong together: the certificate's, if any."""
        for each in (self.own, self._top):
            _touch(each, names)
        return self.own if any(name in self.own for name in names) else self._top

    def text(self, key: str) -> str | None:
        """Return a text, None where it is missing."""
        found = self._top.optional_text(key)
        own = self.own.optional_text(key)
        return found if own is None else own

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        return self.own.flag(key, self._top.flag(key, default))

    def seconds(self, key: str, default: float, *, most: float = DAY_S) -> float:
        """Return a time in seconds."""
        return self.own.seconds(key, self._top.seconds(key, default, most=most), most=most)

    def choice(self, key: str, options: Mapping[str, object], default: object) -> object:
        """Return what a word stands for."""
        return self.own.choice(key, options, self._top.choice(key, options, default))


def _certificate(name: str, own: TomlTable, top: TomlTable) -> CertificateSettings:
    keys = _Keys(own, top)
    uri, policy, hook = _uri(keys), _policy(keys), _hook(keys)
    trust = keys.of(_TRUST)
    with own.checks():
        settings = CertificateSettings(
            name=name,
            uri=uri,
            trust_file=trust.optional_file("trust"),
            fingerprint=trust.optional_text("fingerprint"),
            credentials=_credentials(keys.of(_CREDENTIALS)),
            subject=_subject(own),
            names=_names(own),
            key_type=_key_type(keys),
            key_uri=keys.text("key"),
            remove_old_keys=keys.flag("remove_old_keys", False),
            policy=policy,
            login_when_renewing=keys.flag("login_when_renewing", False),
            verify_live=keys.flag("verify_live", False),
            hook=hook,
            pop=PopMode(keys.choice("pop", {each.value: each.value for each in PopMode}, "auto")),
            tls_exporter=keys.flag("tls_exporter", False),
            timeouts=_timeouts(keys),
            proxy=_proxy(keys),
            clock_floor=_clock_floor(keys),
        )
    own.done()
    return settings


def _uri(keys: _Keys) -> EstUri:
    text, label = keys.text("url"), keys.text("label")
    if text is None:
        raise keys.own.error("url", "is missing: https://HOST[:PORT][/LABEL]")
    with keys.own.checks("url"):
        uri = EstUri.parse(text)
        return uri if label is None else replace(uri, label=Label(label))


def _credentials(table: TomlTable) -> Credentials:
    with table.checks():
        return Credentials(
            user=table.optional_text("user") or "",
            password_file=table.optional_file("password_file"),
            token_file=table.optional_file("token_file"),
            code_file=table.optional_file("code_file"),
            code_in=table.choice("code_in", _CODE_IN, None),
            certificate_file=table.optional_file("identity_certificate"),
            key_file=table.optional_file("identity_key"),
        )


def _subject(own: TomlTable) -> x509.Name:
    """Return the subject of the first request: parts as "O=Example", and the common name."""
    parts: list[x509.NameAttribute[str]] = []
    with own.checks("subject"):
        parts += [subject_attribute(word) for word in own.texts("subject")]
    common_name = own.optional_text("cn")
    if common_name is not None:
        try:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        except ValueError as exc:
            raise own.error("cn", "has 1 to 64 characters; san takes longer names") from exc
    return x509.Name(parts)


def _names(own: TomlTable) -> tuple[x509.GeneralName, ...]:
    with own.checks("san"):
        return tuple(_name(word) for word in own.texts("san"))


def _name(word: str) -> x509.GeneralName:
    kind, _, value = word.strip().partition(":")
    make = SAN_KINDS.get(kind.lower())
    if make is None or not value:
        kinds = ", ".join(f"{each}:..." for each in SAN_KINDS)
        raise LocalProtocolError(f"{word!r} is none of {kinds}")
    try:
        return make(value)
    except ValueError as exc:
        raise LocalProtocolError(f"{word!r}: {exc}") from exc


def _key_type(keys: _Keys) -> str | None:
    found = keys.choice("key_type", {each: each for each in KEY_TYPES}, None)
    return None if found is None else str(found)


def _policy(keys: _Keys) -> RenewalPolicy:
    usual = RenewalPolicy()
    when = keys.of(_WHEN)
    if all(name in when for name in _WHEN):
        raise when.error("renew_before_days", "and renew_at exclude each other")
    days = when.optional_integer("renew_before_days", least=1, most=_DAYS_MAX)
    expired = keys.choice(
        "when_expired", {each.value: each for each in WhenExpired}, usual.when_expired
    )
    with keys.own.checks():
        return RenewalPolicy(
            begin=when.share("renew_at", usual.begin),
            begin_before_s=None if days is None else days * DAY_S,
            renewal_info=keys.flag("renewal_info", usual.renewal_info),
            retry_first_s=keys.seconds("retry_first_s", usual.retry_first_s),
            retry_max_s=keys.seconds("retry_max_s", usual.retry_max_s, most=7 * DAY_S),
            rekey=keys.flag("rekey", usual.rekey),
            when_expired=WhenExpired(expired),
            trust_s=keys.seconds("trust_s", usual.trust_s, most=_DAYS_MAX * DAY_S),
            look_again_s=keys.seconds("look_again_s", usual.look_again_s),
        )


def _hook(keys: _Keys) -> HookSettings | None:
    table = keys.of(_HOOK)
    command = table.texts("hook")
    words = {each.value: each for each in HookFailure}
    timeout_s = table.seconds("hook_timeout_s", HOOK_S, most=HOOK_MAX_S)
    on_failure = table.choice("hook_on_failure", words, HookFailure.REPORT)
    if not command:
        for name in _HOOK:
            if name in table:
                raise table.error(name, 'needs a hook: hook = ["PROGRAM", "ARGUMENT", ...]')
        return None
    with table.checks("hook"):
        return HookSettings(command=command, timeout_s=timeout_s, on_failure=on_failure)


def _timeouts(keys: _Keys) -> ClientTimeouts:
    usual = ClientTimeouts()
    return ClientTimeouts(
        connect_s=keys.seconds("connect_s", usual.connect_s),
        handshake_s=keys.seconds("handshake_s", usual.handshake_s),
        response_s=keys.seconds("response_s", usual.response_s),
    )


def _proxy(keys: _Keys) -> Proxy | None:
    table = keys.of(_PROXY)
    url, exceptions = table.optional_text("proxy"), table.texts("no_proxy")
    if url is None:
        if exceptions:
            raise table.error("no_proxy", "needs a proxy")
        return None
    with table.checks("proxy"):
        return replace(Proxy.parse(url), exceptions=exceptions)


def _clock_floor(keys: _Keys) -> datetime | None:
    text = keys.text("clock_floor")
    if text is None:
        return None
    try:
        return read_clock_floor(text)
    except LocalProtocolError as exc:
        raise keys.own.error("clock_floor", exc.message) from exc


_TOUCH: Final[Mapping[str, Callable[[TomlTable, str], object]]] = {
    "trust": TomlTable.optional_file,
    "password_file": TomlTable.optional_file,
    "token_file": TomlTable.optional_file,
    "code_file": TomlTable.optional_file,
    "identity_certificate": TomlTable.optional_file,
    "identity_key": TomlTable.optional_file,
    "fingerprint": TomlTable.optional_text,
    "user": TomlTable.optional_text,
    "code_in": lambda table, key: table.choice(key, _CODE_IN, None),
    "hook": TomlTable.texts,
    "hook_timeout_s": lambda table, key: table.seconds(key, HOOK_S, most=HOOK_MAX_S),
    "hook_on_failure": lambda table, key: table.choice(
        key, {each.value: each for each in HookFailure}, HookFailure.REPORT
    ),
    "proxy": TomlTable.optional_text,
    "no_proxy": TomlTable.texts,
    "renew_at": lambda table, key: table.share(key, RenewalPolicy().begin),
    "renew_before_days": lambda table, key: table.optional_integer(key, least=1, most=_DAYS_MAX),
}
"""How a key is read of which it is not known yet whether that table counts."""


def _touch(table: TomlTable, names: tuple[str, ...]) -> None:
    """Read keys, so that what is wrong is found also where another table counts."""
    for name in names:
        _TOUCH[name](table, name)
