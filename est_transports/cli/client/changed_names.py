"""`--new-subject` and `--new-san`: the other names that a renewal asks for. RFC 6402 2.8."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.attributes import ChangeSubjectName
from est_core.client.enrollment import change_of_names
from est_core.values import unchecked_value_class
from est_transports.cli.client.requested_names import (
    RequestedNames,
    names_from_options,
    names_of_certificate,
)
from est_transports.cli.errors import CliError, ExitCode
from est_transports.pki.names import SHORT_NAMES

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_TYPES: Final = {name: oid for oid, name in SHORT_NAMES.items()}
_NONE: Final = ("none",)
_SUBJECT: Final = click.option(
    "--new-subject",
    metavar="NAME",
    help="Ask for this subject in place of the one there is, as CN=device-2,O=Example.",
)
_SAN: Final = click.option(
    "--new-san",
    multiple=True,
    metavar="KIND:NAME,...",
    help="Ask for these alternative names in place of those there are; none asks for no names.",
)


@unchecked_value_class
class NameChange:
    """The names that are asked for; None leaves the subject or the alternative names as is."""

    subject: x509.Name | None = None
    names: tuple[x509.GeneralName, ...] | None = None

    def of(self, current: x509.Certificate) -> tuple[RequestedNames, ChangeSubjectName | None]:
        """Return what the new certificate of `current` will name, and what asks for it.

        Raises CliError (USAGE) where that is nobody.
        """
        kept = names_of_certificate(current)
        if self.subject is None and self.names is None:
            return kept, None
        try:
            change = change_of_names(current, subject=self.subject, names=self.names)
        except LocalProtocolError as exc:
            raise CliError(f"no request can say that: {exc.message}", ExitCode.USAGE) from exc
        requested = RequestedNames(
            subject=kept.subject if self.subject is None else self.subject,
            names=kept.names if self.names is None else self.names,
        )
        return requested, change


def name_change_options(command: Decorated) -> Decorated:
    """Add the options for other names; the command gets them as `new_names`."""

    @functools.wraps(command)
    def with_names(
        *arguments: Any, new_subject: str | None, new_san: tuple[str, ...], **options: Any
    ) -> Any:
        change = NameChange(
            subject=None if new_subject is None else _subject(new_subject),
            names=_names(new_san),
        )
        return command(*arguments, new_names=change, **options)

    # functools.wraps keeps the signature for readers; click calls with its own keywords.
    result: Any = _SUBJECT(_SAN(with_names))
    decorated: Decorated = result
    return decorated


def _subject(text: str) -> x509.Name:
    try:
        return x509.Name.from_rfc4514_string(text, _TYPES)
    except ValueError as exc:
        raise CliError(
            f"--new-subject {text}: is no name",
            ExitCode.USAGE,
            "write parts as CN=device-2,O=Example",
        ) from exc


def _names(san: tuple[str, ...]) -> tuple[x509.GeneralName, ...] | None:
    if not san:
        return None
    return () if san == _NONE else names_from_options(None, san, option="--new-san").names
