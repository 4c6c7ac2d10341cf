"""What an agent is to do: for each certificate whose it is, where it comes from, and when."""

from __future__ import annotations

import re
from dataclasses import field
from datetime import datetime
from enum import Enum, unique
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import CodeSource, EstUri, LocalProtocolError, PopMode
from est_core.life_cycle import RenewalPolicy
from est_core.values import value_class
from est_transports.client_config import ClientTimeouts
from est_transports.pki.clock_floor import check_clock
from est_transports.pki.new_keys import KEY_TYPES
from est_transports.pki.pkcs11_uri import Pkcs11Uri, TokenError
from est_transports.pki.trust import by_fingerprint
from est_transports.tunnels.proxy import Proxy

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
HOOK_S: Final = 60.0
HOOK_MAX_S: Final = 3600.0


@unique
class HookFailure(Enum):
    """What becomes of a certificate whose hook fails: it stays, or the one before comes back."""

    REPORT = "report"
    ROLL_BACK = "roll-back"


@value_class
class HookSettings:
    """A command to run once another certificate is in its place. No shell reads it.

    It is ended, with all that it started, after `timeout_s`. Raises LocalProtocolError for an empty
    command and for times that make no sense.
    """

    command: tuple[str, ...]
    timeout_s: float = HOOK_S
    on_failure: HookFailure = HookFailure.REPORT

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise LocalProtocolError("a hook is a program and its arguments")
        if any("\0" in word for word in self.command):
            raise LocalProtocolError("a hook holds no NUL character")
        if not 0 < self.timeout_s <= HOOK_MAX_S:
            raise LocalProtocolError(f"a hook has more than 0 and at most {HOOK_MAX_S:.0f} seconds")


@value_class
class Credentials:
    """How a device proves who it is before it has a certificate of the CA. Paths of files.

    `user` with `password_file`; or `token_file`; or `code_file`, a one-time code that goes as the
    password of `user`, or where `code_in` says; and a certificate that the manufacturer gave,
    `certificate_file` with `key_file`. They are read when they are needed. Raises
    LocalProtocolError for what does not go together.
    """

    user: str = ""
    password_file: Path | None = None
    token_file: Path | None = None
    code_file: Path | None = None
    code_in: CodeSource | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise LocalProtocolError("an identity is a certificate and a key")
        if self.password_file is not None and not self.user:
            raise LocalProtocolError("a password is that of a user")
        ways = (self.password_file, self.token_file, self.code_file)
        if sum(way is not None for way in ways) > 1:
            raise LocalProtocolError("a device logs in by a password, a token or a code")
        if self.user and self.password_file is None and self.code_file is None:
            raise LocalProtocolError("a user has a password, or a code")
        if self.code_in is not None and self.code_file is None:
            raise LocalProtocolError("without a code nothing says where it goes")


@value_class
class CertificateSettings:
    """One certificate: its directory's name, where it comes from, what it says, when it is renewed.

    `trust_file` or `fingerprint` say by whom the server is certified, as long as there is no
    certificate whose trust.pem says it. `subject` and `names` are for the first request: a
    renewal repeats those of the certificate. `key_type` is a name of KEY_TYPES; where it is None
    the server may say. `key_uri` is a `pkcs11:` URI whose label is that of new keys, followed by a
    number: they are made in that token; with `remove_old_keys` those that no pair has any more are
    removed. With `login_when_renewing` a server that asks for a login beside the certificate gets
    it at renewals too. With `verify_live` a certificate is shown to the server before it is used.
    All requests go through `proxy`. `clock_floor` is a moment that has passed for certain, in UTC:
    while the clock shows less, the server is judged by that.
    Raises LocalProtocolError for a name that is no directory's, for no or two ways to trust, and
    for what is neither a kind of key nor a fingerprint.
    """

    name: str
    uri: EstUri
    trust_file: Path | None = None
    fingerprint: str | None = None
    credentials: Credentials = field(default_factory=Credentials)
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))
    names: tuple[x509.GeneralName, ...] = ()
    key_type: str | None = None
    key_uri: str | None = None
    remove_old_keys: bool = False
    policy: RenewalPolicy = field(default_factory=RenewalPolicy)
    login_when_renewing: bool = False
    verify_live: bool = False
    hook: HookSettings | None = None
    pop: PopMode = PopMode.AUTO
    tls_exporter: bool = False
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    proxy: Proxy | None = None
    clock_floor: datetime | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LocalProtocolError(
                "a certificate's name has 1 to 64 letters, digits, - and _, first a letter or digit"
            )
        if self.uri.scheme != "https":
            raise LocalProtocolError("an agent renews over https")
        if (self.trust_file is None) == (self.fingerprint is None):
            raise LocalProtocolError("one of trust and fingerprint says by whom it is certified")
        check_clock(self.clock_floor)
        if self.fingerprint is not None:
            by_fingerprint(self.fingerprint)
        if self.key_type is not None and self.key_type not in KEY_TYPES:
            raise LocalProtocolError(f"a kind of key is one of {', '.join(KEY_TYPES)}")
        if self.key_uri is not None:
            _check_token(self.key_uri, verify_live=self.verify_live)


def _check_token(text: str, *, verify_live: bool) -> None:
    try:
        uri = Pkcs11Uri.parse(text)
    except TokenError as exc:
        raise LocalProtocolError(exc.message) from exc
    if not uri.object or uri.id is not None or uri.type not in (None, "private"):
        raise LocalProtocolError("a key's URI has a label for new keys (object=), and no id")
    if uri.pin_value is not None:
        raise LocalProtocolError("a key's URI names a file with the PIN (pin-source=), not the PIN")
    if verify_live:
        raise LocalProtocolError("TLS cannot show a certificate whose key is in a token")


@value_class
class AgentSettings:
    """What one agent looks after. Raises LocalProtocolError for none, and for one name twice.

    `directory` holds a directory of each certificate's name.
    """

    directory: Path
    certificates: tuple[CertificateSettings, ...]

    def __post_init__(self) -> None:
        names = [each.name for each in self.certificates]
        if not names:
            raise LocalProtocolError("there is no certificate to look after")
        if len(set(names)) != len(names):
            raise LocalProtocolError("two certificates have one name")

    def named(self, name: str) -> CertificateSettings | None:
        """Return the settings of a certificate, None where there is none of that name."""
        return next((each for each in self.certificates if each.name == name), None)
