"""Keys in a token, for commands: where `pkcs11:` URIs stand, and how the PIN is asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from est_core import Limits
from est_core.asn1.keys import PublicKeyFacts, public_key_facts
from est_core.values import unchecked_value_class
from est_transports.cli.client.hints import remedy
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import warn
from est_transports.cli.password_input import ask_password
from est_transports.cli.paths import uri_in
from est_transports.cli.terminal_text import terminal_safe
from est_transports.pki.pkcs11_uri import BAD_URI, TokenError
from est_transports.pki.signers import SignerError

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri
    from est_transports.pki.token_keys import OpenToken, TokenSigner


@unchecked_value_class
class TokenKey:
    """A key to be certified that is in a token."""

    signer: TokenSigner

    @property
    def spki(self) -> bytes:
        """Its SubjectPublicKeyInfo in DER."""
        return self.signer.public_key_spki

    @property
    def facts(self) -> PublicKeyFacts:
        """What its public half is."""
        return public_key_facts(self.spki, Limits())

    @property
    def reference(self) -> bytes:
        """What the file holds that stands for it: the URI, in a line."""
        return f"{self.signer.uri}\n".encode()


@contextmanager
def token_errors() -> Iterator[None]:
    """Make a CliError of a TokenError, with the remedy of its code."""
    try:
        yield
    except TokenError as exc:
        code = ExitCode.USAGE if exc.code == BAD_URI else ExitCode.LOCAL
        raise CliError(exc.message, code, remedy(exc.code), error_code=exc.code) from exc


def signing_error(doing: str, error: SignerError) -> CliError:
    """Return the error where a key did not sign while something was being done."""
    code = error.code if isinstance(error, TokenError) else ""
    return CliError(f"{doing}: {error}", ExitCode.LOCAL, remedy(code), error_code=code)


def open_place(uri: Pkcs11Uri, pin_file: Path | None, option: str) -> OpenToken:
    """Return the token that an option names; `pin_file` is what goes with it. Raises CliError."""
    if uri.pin_value is not None:
        warn(
            f"{option}: pin-value is seen by all who may read the URI, on a command line by "
            "all who may list processes; use pin-source"
        )
    if uri.unknown:
        warn(f"{option}: passed over, for it is not known here: {', '.join(uri.unknown)}")
    from est_transports.pki.token_keys import open_token

    with token_errors():
        return open_token(uri, ask_pin=_ask_pin, pin_file=pin_file)


def read_uri(path: Path) -> str:
    """Return the URI that a file holds, where it has to hold one. Raises CliError (LOCAL)."""
    text = uri_in(path)
    if text is None:
        raise CliError(f"{path}: holds no pkcs11: URI", ExitCode.LOCAL, "name another file")
    return text


def _ask_pin(label: str) -> str | None:
    if not sys.stdin.isatty():
        return None
    return ask_password(f"PIN of token {terminal_safe(label)}")
