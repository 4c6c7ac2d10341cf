"""The options that say which key is certified: one that is there, or one to be made, and where."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from est_core.values import unchecked_value_class
from est_transports.cli.client.token_keys import TokenKey, open_place, token_errors
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.keys import NewKey, load_key
from est_transports.cli.paths import KEY_PLACE, PATH, PKCS11_URI
from est_transports.pki.new_keys import KEY_TYPES

if TYPE_CHECKING:
    from est_transports.pki.pkcs11_uri import Pkcs11Uri
    from est_transports.pki.token_keys import OpenToken

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--new-key", type=KEY_PLACE, metavar="KEY",
                 help="Have this key certified: an existing one, or that of --csr. A file, or the "
                 "pkcs11: URI of a key in a token."),
    click.option("--make-key", type=PKCS11_URI, metavar="URI",
                 help="Make the new key in a token: pkcs11:token=TOKEN;object=LABEL. Its URI goes "
                 "into key.uri."),
    click.option("--new-key-password-file", type=PATH, metavar="FILE",
                 help="Its password, or the PIN of its token; without it you are asked."),
    click.option("--key-type", type=click.Choice(list(KEY_TYPES), case_sensitive=False),
                 help="Kind of key to make.  [default: in a renewal the kind of the old key, else "
                 "what the server asks for, else ec:P-256]"),
)  # fmt: skip


@unchecked_value_class
class KeyOptions:
    """Which key is to be certified, as the options say."""

    new_key: Path | Pkcs11Uri | None
    make_key: Pkcs11Uri | None
    password_file: Path | None
    key_type: str | None

    def __post_init__(self) -> None:
        if self.make_key is not None and self.new_key is not None:
            raise CliError("--make-key goes without --new-key", ExitCode.USAGE)
        if self.key_type is not None and self.new_key is not None:
            raise CliError("--key-type is for keys that are made here", ExitCode.USAGE)

    @property
    def are_given(self) -> bool:
        """Whether they name a key, or a token for one."""
        return self.new_key is not None or self.make_key is not None

    def key(self) -> NewKey | TokenKey | None:
        """Return the key that is there; None where one is to be made. Raises CliError."""
        if self.new_key is None:
            return None
        if isinstance(self.new_key, Path):
            key, password = load_key(self.new_key, self.password_file, "--new-key-password-file")
            return NewKey(key=key, password=password)
        place = open_place(self.new_key, self.password_file, "--new-key")
        with token_errors():
            return TokenKey(signer=place.key())

    def token(self) -> OpenToken | None:
        """Return the token in which the key is to be made, if it is. Raises CliError."""
        if self.make_key is None:
            return None
        from est_transports.pki.token_keys import TOKEN_KEY_TYPES

        if self.key_type is not None and self.key_type not in TOKEN_KEY_TYPES:
            raise CliError(
                f"--key-type {self.key_type}: such keys are not made in tokens",
                ExitCode.USAGE,
                f"with --make-key it is one of {', '.join(TOKEN_KEY_TYPES)}",
            )
        return open_place(self.make_key, self.password_file, "--make-key")


def key_options(command: Decorated) -> Decorated:
    """Add the options; the command gets KeyOptions as `keys`."""

    @functools.wraps(command)
    def with_keys(*arguments: Any, **options: Any) -> Any:
        keys = KeyOptions(
            new_key=options.pop("new_key"),
            make_key=options.pop("make_key"),
            password_file=options.pop("new_key_password_file"),
            key_type=options.pop("key_type"),
        )
        return command(*arguments, keys=keys, **options)

    decorated: Any = with_keys
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: Decorated = decorated  # functools.wraps keeps the signature for readers
    return result
