"""Carries out `est enroll` and `est reenroll`: from the names asked for to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Final

import click
from cryptography import x509

from est_core import (
    CodeSource,
    Enrolled,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
    RetryLater,
)
from est_core.asn1.attributes import ChangeSubjectName, challenge_attribute
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.keys import SignatureAlgorithm, public_key_facts
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo
from est_core.checks.enforcement import Unmet
from est_core.checks.issued import Difference, told_differences
from est_core.client.enrollment import (
    renewal_request_info,
    request_info,
    unmet_by,
    wanted_algorithm,
    wanted_key,
)
from est_core.values import unchecked_value_class
from est_transports.cli.client.conversation import Conversation, EnrollmentFailedError
from est_transports.cli.client.hints import remedy
from est_transports.cli.client.own_parts import OwnParts
from est_transports.cli.client.pending import (
    Pending,
    forget_pending,
    mark_refused,
    resume,
    save_pending,
)
from est_transports.cli.client.received_certificate import (
    Destination,
    checked_chain,
    install,
    keep_unreadable,
)
from est_transports.cli.client.requested_names import RequestedNames
from est_transports.cli.client.target import Target
from est_transports.cli.client.token_keys import TokenKey, token_errors
from est_transports.cli.describe import certificate_values
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.files import uninterrupted, without_empty_directory
from est_transports.cli.keys import NewKey, kind_of_key, make_key
from est_transports.cli.output import say, warn

if TYPE_CHECKING:
    from est_transports.pki.token_keys import OpenToken

TOLD_CA: Final = "csrattrs/asks-for-ca"
"""CSR attributes by which a client would ask for the certificate of a CA."""
UNMET: Final = "csrattrs/unmet"
"""CSR attributes that a request does not follow, where it was to."""
_SHOWN: Final = 8
_LINKING: Final = ("1.2.840.113549.1.9.7", "1.2.840.113549.1.9.16.2.58")
_OTP_CHALLENGE: Final = "1.2.840.113549.1.9.16.2.56"
_OPTIONAL: Final = (_OTP_CHALLENGE, "1.2.840.113549.1.9.16.2.57")
"""Challenges that are for who has a value for them. RFC 7894 4."""


@unchecked_value_class
class Order:
    """What is wanted, and where it is to be put.

    `csr` is a request that somebody else made. `key` is the key to be certified; None together
    with no `csr` has one made, in `token` where that is given. `current` is the certificate to be
    renewed, `change` what asks for other names than it has. `key_password` encrypts a key that is
    made. With `accept_changes` a certificate is taken that is not what was asked for, and CSR
    attributes are followed that make the request one for a CA. With `strict_csrattrs` nothing is
    sent that does not hold all that the server asks for. `own` is what the user gives beside the
    names, its parts of the subject among these already.
    """

    destination: Destination
    requested: RequestedNames
    csr: CertRequest | None = None
    key: NewKey | TokenKey | None = None
    token: OpenToken | None = field(default=None, repr=False)
    key_type: str | None = None
    key_password: bytes | None = field(default=None, repr=False)
    current: x509.Certificate | None = None
    change: ChangeSubjectName | None = None
    accept_changes: bool = False
    strict_csrattrs: bool = False
    own: OwnParts = field(default_factory=OwnParts)
    wait_s: float = 0.0

    @property
    def makes_key(self) -> bool:
        """True if a key is made for it, and kept while the request is pending."""
        return self.csr is None and self.key is None


@unchecked_value_class
class Received:
    """A certificate in its place; `files` are all that were written.

    `differences` are the points in which it is not what was asked for, `unmet` what the server
    asked for and the request did not hold.
    """

    certificate: x509.Certificate
    files: tuple[str, ...]
    differences: tuple[Difference, ...] = ()
    unmet: tuple[Unmet, ...] = ()

    def values(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            "status": "enrolled",
            **certificate_values(self.certificate),
            "files": list(self.files),
            "differences": [
                {"point": each.point.value, "text": each.text, "dangerous": each.dangerous}
                for each in self.differences
            ],
            "unmet": [
                {
                    "demand": each.demand.value,
                    "flaw": each.flaw.value,
                    "oid": each.oid,
                    "text": each.text,
                }
                for each in self.unmet
            ],
        }


def carry_out(target: Target, order: Order) -> Received | RetryLater:
    """Get the certificate, check it and put it in its place, or return when to ask again.

    Raises CliError. Nothing that was there before has changed then, but for a key that is kept
    because the server may have issued a certificate for it.
    """
    with without_empty_directory(order.destination.directory):
        return _carry_out(target, order)


def _carry_out(target: Target, order: Order) -> Received | RetryLater:
    order.destination.check()
    resumed = _resumed(order)
    if order.token is not None and resumed is None:
        with token_errors():
            order.token.check_free()
    with Conversation(target) as conversation:
        ca_certificates = target.ca_certificates
        if ca_certificates is None:
            ca_certificates = conversation.ca_certs_if_any()
        csrattrs = _csrattrs(conversation)
        key = resumed or _key(order, csrattrs)
        asking = _asking(target, order, key, csrattrs)
        answer = _enroll(conversation, order, key, asking, is_new=resumed is None)
    if isinstance(answer, RetryLater):
        return answer
    with _refusal_noted(order, key):
        chain = checked_chain(
            answer,
            order.destination,
            trusted=tuple(dict.fromkeys((*ca_certificates, *target.trust))),
            accept_changes=order.accept_changes,
        )
    with uninterrupted():
        files = install(
            order.destination,
            certificate=answer.certificate,
            chain=chain,
            ca_certificates=ca_certificates,
            key=key if order.makes_key else None,
        )
        if order.makes_key:
            forget_pending(order.destination.directory)
    return Received(
        certificate=answer.certificate,
        files=tuple(str(path) for path in files),
        differences=answer.differences,
        unmet=asking.unmet,
    )


def _csrattrs(conversation: Conversation) -> CsrAttrs | None:
    found = conversation.csr_attrs_if_any()
    if found is not None and found.has_malformed_extension_request:
        warn("the server's CSR attributes hold an extensionRequest that is none: it is left out")
    return found


def _resumed(order: Order) -> NewKey | TokenKey | None:
    """Return the key of the request that is pending, if it is this one."""
    if not order.makes_key:
        return None
    return resume(
        order.destination.directory,
        order.requested,
        order.key_type,
        order.key_password,
        token=order.token,
        force=order.destination.force,
    )


@contextmanager
def _refusal_noted(order: Order, key: NewKey | TokenKey | None) -> Iterator[None]:
    """Keep the key of a certificate that is issued and refused by us, in nobody's way."""
    try:
        yield
    except CliError:
        if order.makes_key and key is not None:
            mark_refused(order.destination.directory, Pending(requested=order.requested, key=key))
        raise


def _key(order: Order, csrattrs: CsrAttrs | None) -> NewKey | TokenKey | None:
    """Return the key to be certified, made as the server asks if it is not there yet."""
    wanted = wanted_key(csrattrs)
    key = order.key
    if order.makes_key and order.token is not None:
        with token_errors():
            made_there = order.token.generate(kind_of_key(wanted, order.key_type))
        say(f"made a key: {made_there.uri}")
        key = TokenKey(signer=made_there)
    elif order.makes_key:
        made = make_key(wanted, order.key_type)
        key = NewKey(key=made, password=order.key_password)
    return key


@unchecked_value_class
class _Asking:
    """A request as it goes to the server."""

    request: CertRequestInfo | CertRequest
    csrattrs: CsrAttrs | None
    algorithm: SignatureAlgorithm | None
    unmet: tuple[Unmet, ...]


def _asking(
    target: Target, order: Order, key: NewKey | TokenKey | None, csrattrs: CsrAttrs | None
) -> _Asking:
    request = _request(order, key, csrattrs)
    algorithm = _algorithm(target, key, csrattrs)
    return _Asking(
        request=request,
        csrattrs=csrattrs,
        algorithm=algorithm,
        unmet=_unmet(order, _with_code(request, target), csrattrs, algorithm),
    )


def _enroll(
    conversation: Conversation,
    order: Order,
    key: NewKey | TokenKey | None,
    asking: _Asking,
    *,
    is_new: bool,
) -> Enrolled | RetryLater:
    if order.makes_key and key is not None:
        save_pending(order.destination.directory, Pending(requested=order.requested, key=key))
    try:
        return conversation.enroll(
            asking.request,
            key=None if key is None else key.signer,
            csrattrs=asking.csrattrs,
            algorithm=asking.algorithm,
            renew=order.current is not None,
            wait_s=order.wait_s,
        )
    except (CliError, click.Abort) as exc:
        # Anything else than a failed exchange went wrong before the request was accepted:
        # nothing could be sent, or no password was given.
        maybe = isinstance(exc, EnrollmentFailedError) and exc.may_be_issued
        if isinstance(exc, EnrollmentFailedError):
            keep_unreadable(order.destination, exc.left_out)
        if order.makes_key and key is not None and not maybe:
            if is_new:
                _drop(order, key)
            elif isinstance(exc, EnrollmentFailedError) and exc.code is ExitCode.REFUSED:
                mark_refused(
                    order.destination.directory, Pending(requested=order.requested, key=key)
                )
        raise
    except KeyboardInterrupt as exc:
        if not order.makes_key:
            raise
        say("")  # ends the line on which the terminal shows ^C
        raise CliError("interrupted", ExitCode.INTERRUPTED, remedy("connection/lost")) from exc


def _drop(order: Order, key: NewKey | TokenKey) -> None:
    """Forget a key that was made for this request and that no certificate can be for."""
    forget_pending(order.destination.directory)
    if isinstance(key, TokenKey):
        with token_errors():
            key.signer.discard()
        say(f"removed the key again: {key.signer.uri}")


def _request(
    order: Order, key: NewKey | TokenKey | None, csrattrs: CsrAttrs | None
) -> CertRequestInfo | CertRequest:
    """Return what is asked for: to be signed where the key is here, else as it came."""
    if order.csr is not None:
        if key is None:
            return order.csr
        info = CertRequestInfo.of(order.csr)
        for oid in _LINKING:  # it was for another connection, if for any
            info = info.without_attribute(oid)
        return info
    if key is None:
        raise TypeError("an order without a request has a key")
    try:
        ours = _info(order, key, None)
    except LocalProtocolError as exc:
        raise CliError(f"no request can say that: {exc.message}", ExitCode.USAGE) from exc
    try:
        told = _info(order, key, csrattrs)
        _show_told(order, ours, told)
        return told
    except (LocalProtocolError, RemoteProtocolError) as exc:
        raise CliError(
            f"the server's CSR attributes cannot be met: {exc.message}",
            ExitCode.REFUSED,
            "see `est csrattrs`; a request of your own goes with --csr",
            error_code=exc.code if isinstance(exc, RemoteProtocolError) else "",
        ) from exc


def _info(order: Order, key: NewKey | TokenKey, csrattrs: CsrAttrs | None) -> CertRequestInfo:
    if order.current is not None:
        return renewal_request_info(
            current=order.current,
            key=key.spki,
            change=order.change,
            csrattrs=csrattrs,
            attributes=order.own.attributes,
            extensions=order.own.extensions,
        )
    return request_info(
        subject=order.requested.subject,
        key=key.spki,
        names=order.requested.names,
        csrattrs=csrattrs,
        attributes=order.own.attributes,
        extensions=order.own.extensions,
    )


def _show_told(order: Order, ours: CertRequestInfo, told: CertRequestInfo) -> None:
    """Say what the server's CSR attributes put into the request.

    Raises CliError (REFUSED) where that is the right to sign certificates, and was not accepted.
    """
    differences = told_differences(ours, told)
    for difference in differences:
        say(f"by the server's CSR attributes, the request {difference.text}")
    dangerous = [each.text for each in differences if each.dangerous]
    if dangerous and not order.accept_changes:
        raise CliError(
            f"by the server's CSR attributes, the request {'; it '.join(dangerous)}",
            ExitCode.REFUSED,
            f"nothing was sent; {remedy(TOLD_CA)}",
            error_code=TOLD_CA,
        )


def _with_code(
    request: CertRequestInfo | CertRequest, target: Target
) -> CertRequestInfo | CertRequest:
    """Return the request with the code that is put into it when it is signed."""
    code = target.code
    if code is None or code.source is not CodeSource.OTP_CHALLENGE:
        return request
    if isinstance(request, CertRequest):
        return request
    return request.with_attribute(challenge_attribute(_OTP_CHALLENGE, code.code))


def _unmet(
    order: Order,
    request: CertRequestInfo | CertRequest,
    csrattrs: CsrAttrs | None,
    algorithm: SignatureAlgorithm | None,
) -> tuple[Unmet, ...]:
    """Return what the server asks for and the request does not hold, and say so.

    Raises CliError (REFUSED) where all of it was to be held.
    """
    if csrattrs is None:
        return ()
    found = unmet_by(request, csrattrs, algorithm=algorithm, renewal=order.current is not None)
    unmet = tuple(each for each in found if order.strict_csrattrs or each.oid not in _OPTIONAL)
    if not unmet:
        return ()
    text = "; ".join(each.text for each in unmet[:_SHOWN])
    if len(unmet) > _SHOWN:
        text += f"; and {len(unmet) - _SHOWN} more"
    text = f"the server asks for what the request does not hold: {text}"
    if order.strict_csrattrs:
        raise CliError(
            text, ExitCode.REFUSED, f"nothing was sent; {remedy(UNMET)}", error_code=UNMET
        )
    warn(text)
    return unmet


def _algorithm(
    target: Target, key: NewKey | TokenKey | None, csrattrs: CsrAttrs | None
) -> SignatureAlgorithm | None:
    if key is None:
        return None
    try:
        return wanted_algorithm(csrattrs, public_key_facts(key.spki, Limits()), target.digest)
    except LocalProtocolError as exc:
        raise CliError(f"--digest: {exc.message}", ExitCode.USAGE) from exc
