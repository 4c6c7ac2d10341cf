"""What `--attr` puts into a request by hand: attributes, extensions and parts of the subject."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.attributes import Attribute, Extension, challenge_attribute
from est_core.client.enrollment import usual_extension
from est_core.values import unchecked_value_class
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.password_input import secret_from_file
from est_transports.cli.paths import PATH
from est_transports.pki.csr_words import (
    PartKind,
    kind_of_part,
    subject_attribute,
    wanted_attribute,
    wanted_extension,
)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_REVOCATION_CHALLENGE: Final = "1.2.840.113549.1.9.16.2.57"
_ATTR: Final = click.option(
    "--attr",
    "attrs",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Put an attribute, extension or part of the subject into the request; may be repeated.",
)
_REVOCATION: Final = click.option(
    "--revocation-challenge-file",
    "revocation_challenge",
    type=PATH,
    metavar="FILE",
    help="Put the line in this file (-: of standard input) into the request as revocationChallenge "
    "(RFC 7894), a password to have the certificate revoked by.",
)


@unchecked_value_class
class OwnParts:
    """Parts of a request that its user gives beside key and names."""

    subject: tuple[x509.NameAttribute[str], ...] = ()
    attributes: tuple[Attribute, ...] = ()
    extensions: tuple[Extension, ...] = ()

    def __bool__(self) -> bool:
        """False where nothing is given."""
        return bool(self.subject or self.attributes or self.extensions)

    def added_to(self, requested: RequestedNames) -> RequestedNames:
        """Return the names with the parts of the subject behind its own."""
        if not self.subject:
            return requested
        subject = x509.Name([*requested.subject, *self.subject])
        return RequestedNames(subject=subject, names=requested.names)


def own_part_options(command: Decorated) -> Decorated:
    """Add the options for parts of a request; the command gets them as `own`.

    What is on standard input is read behind a password that is there too.
    """

    @functools.wraps(command)
    def with_parts(
        *arguments: Any, attrs: tuple[str, ...], revocation_challenge: Path | None, **options: Any
    ) -> Any:
        return command(*arguments, own=own_parts(attrs, revocation_challenge), **options)

    # functools.wraps keeps the signature for readers; click calls with its own keywords.
    result: Any = _ATTR(_REVOCATION(with_parts))
    decorated: Decorated = result
    return decorated


def own_parts(words: Iterable[str], revocation_challenge: Path | None = None) -> OwnParts:
    """Return what the words of `--attr` say, and what stands in the file.

    Raises CliError (USAGE), which names the word, or LOCAL for a file that cannot be read.
    """
    subject, attributes, extensions = [], [], []
    if revocation_challenge is not None:
        attributes.append(_revocation_challenge(revocation_challenge))
    for word in words:
        try:
            match kind_of_part(word):
                case PartKind.SUBJECT:
                    subject.append(subject_attribute(word))
                case PartKind.EXTENSION:
                    extensions.append(_extension(word))
                case PartKind.ATTRIBUTE:
                    attributes.append(_attribute(word))
        except LocalProtocolError as exc:
            raise CliError(f"--attr {word}: {exc.message}", ExitCode.USAGE) from exc
    return OwnParts(
        subject=tuple(subject), attributes=tuple(attributes), extensions=tuple(extensions)
    )


def _extension(word: str) -> Extension:
    wanted = wanted_extension(word)
    found = usual_extension(wanted)
    if found is None:
        raise LocalProtocolError("a value is needed, as NAME=VALUE")
    return found


def _revocation_challenge(path: Path) -> Attribute:
    option = "--revocation-challenge-file"
    try:
        return challenge_attribute(
            _REVOCATION_CHALLENGE, secret_from_file(path, option, alone=True)
        )
    except LocalProtocolError as exc:
        raise CliError(f"{option}: {exc.message}", ExitCode.USAGE) from exc


def _attribute(word: str) -> Attribute:
    wanted = wanted_attribute(word)
    if isinstance(wanted, Attribute) and wanted.type == _REVOCATION_CHALLENGE:
        raise LocalProtocolError("it is a secret: give --revocation-challenge-file")
    if not isinstance(wanted, Attribute):
        raise LocalProtocolError("a value is needed, as NAME=VALUE")
    return wanted
