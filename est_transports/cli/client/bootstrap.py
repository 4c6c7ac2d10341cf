"""A server's CA certificates as trust anchors: what a new device begins with. RFC 7030 4.1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cryptography import x509

from est_transports import _clock
from est_transports.cli.client.conversation import Conversation
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.target import Target
from est_transports.cli.describe import fingerprint, subject_text
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.output import say
from est_transports.pki.chains import is_self_signed, leading_to


def established(target: Target) -> Target:
    """Return the target with trust anchors where it has yet to get them, else as it is.

    The CA certificates are fetched on a connection of their own. Of them the root with the
    fingerprint is the anchor, or those that the person at the terminal confirms, and what validly
    leads up to it is `ca_certificates`. Raises CliError (REFUSED) where there is none: nothing is
    trusted then.
    """
    if target.fingerprint is None and not target.is_to_be_confirmed:
        return target
    with Conversation(target, logs_in=False) as conversation:
        received = conversation.bootstrap()
    now = _clock.instant().wall
    # EST-124: the rest of the answer is good for nothing unless it leads to what was accepted.
    leading = leading_to(received.trusted, received.certificates, now=now, floor=target.clock_floor)
    return _trusting(target, received.trusted, leading)


def provisioned(target: Target) -> Target:
    """Return the target with the server's own CA certificates as trust anchors.

    As `established` does with a fingerprint or a person. A server that --trust or the system's
    trust store verifies is believed: its roots are anchors beside those of --trust, and the
    system's are not used for it any more (EST-125, EST-126). Raises CliError.
    """
    if target.fingerprint is not None or target.is_to_be_confirmed:
        return established(target)
    with Conversation(target, logs_in=False) as conversation:  # not before the anchors are known
        received = conversation.ca_certs()
    roots = (each for each in received if is_self_signed(each))
    anchors = tuple(dict.fromkeys((*target.trust, *roots)))
    if not anchors:
        raise CliError(
            f"{target.uri}: there is no self-signed certificate in the answer",
            ExitCode.REFUSED,
            remedy("trust/no-root"),
            error_code="trust/no-root",
        )
    return _trusting(target, anchors, dict.fromkeys((*received, *target.trust)))


def _trusting(
    target: Target,
    anchors: tuple[x509.Certificate, ...],
    ca_certificates: Iterable[x509.Certificate],
) -> Target:
    for anchor in anchors:
        say(f"trusting {subject_text(anchor)}  SHA-256 {fingerprint(anchor)}")
    target.login.implicit = False
    return replace(
        target,
        trust=anchors,
        implicit=(),
        fingerprint=None,
        ca_certificates=tuple(ca_certificates),
    )
