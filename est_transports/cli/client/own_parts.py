"""What `--attr` puts into a request by hand: attributes, extensions and parts of the subject."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import click
from cryptography import x509

from est_core import LocalProtocolError
from est_core.asn1.attributes import Attribute, Extension
from est_core.client.enrollment import usual_extension
from est_core.values import unchecked_value_class
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.errors import CliError, ExitCode
from est_transports.pki.csr_words import (
    PartKind,
    kind_of_part,
    subject_attribute,
    wanted_attribute,
    wanted_extension,
)

ATTR: Final = click.option(
    "--attr",
    "attrs",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Put an attribute, extension or part of the subject into the request; may be repeated.",
)


@unchecked_value_class
class OwnParts:
    """Parts of a request that its user gives beside key and names."""

    subject: tuple[x509.NameAttribute[str], ...] = ()
    attributes: tuple[Attribute, ...] = ()
    extensions: tuple[Extension, ...] = ()

    def added_to(self, requested: RequestedNames) -> RequestedNames:
        """Return the names with the parts of the subject behind its own."""
        if not self.subject:
            return requested
        subject = x509.Name([*requested.subject, *self.subject])
        return RequestedNames(subject=subject, names=requested.names)


def own_parts(words: Iterable[str]) -> OwnParts:
    """Return what the words of `--attr` say. Raises CliError (USAGE), which names the word."""
    subject, attributes, extensions = [], [], []
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


def _attribute(word: str) -> Attribute:
    wanted = wanted_attribute(word)
    if not isinstance(wanted, Attribute):
        raise LocalProtocolError("a value is needed, as NAME=VALUE")
    return wanted
