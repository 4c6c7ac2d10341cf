"""When to renew a certificate: /renewal-info. draft-ietf-lamps-est-renewal-info-00.

The draft has HTTP only. Over CoAP the same is here under /ri, a name of our own, as JSON
(Content-Format 50), with Max-Age in place of Retry-After.

Which certificate is meant stands in the path, behind the operation: the keyIdentifier of its
authorityKeyIdentifier and the content octets of its serial number, each in base64url without
padding, with a dot between them. There is one such text for a certificate, and no other is taken.

The answer is a JSON object, with a window and no more that matters here. A client takes one that
ends before it begins for no answer, and so the word that there is none; what else cannot be read
fails. Members that nobody knows are passed over, as JSON's readers do.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from datetime import datetime, timedelta
from typing import ClassVar, Final

from cryptography import x509

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core.arguments import checked
from est_core.codec.media import ContentFormat
from est_core.codec.retry import RetryAfter
from est_core.codec.timestamps import format_timestamp, parse_timestamp
from est_core.decisions import Decision
from est_core.events import ClientIdentity, ClientResult, RenewalInfoReceived, ServerQuestion
from est_core.model import NotAvailable, Response, Success, shown_text
from est_core.operation import Authentication, CoapAnswer, CoapRow, HttpRow, Outcome, PartRow
from est_core.operations.definition import Asking, Inquiry, OperationDefinition, Reading
from est_core.renewal_window import RenewalWindow
from est_core.values import value_class

RETRY_MIN_S: Final = 60
RETRY_DEFAULT_S: Final = 6 * 3600
RETRY_MAX_S: Final = 24 * 3600
"""Bounds on what a server says of when to ask again: both a day and a minute are usual for ACME's
clients (RFC 9773 4.3.2), and six hours for who is told nothing."""

_JSON_BYTES: Final = 4096
_URL_CHARS: Final = 1024
_KEY_ID_OCTETS: Final = 64  # SHA-512; nearly all are SHA-1
_SERIAL_OCTETS: Final = 32  # RFC 5280 4.1.2.2 has 20 at most
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")
_SECOND: Final = timedelta(seconds=1)


@value_class
class ProvideRenewalInfo(Decision):
    """When to renew that certificate, and when to ask again.

    `window` None: there is no such certificate here, or none that anybody renews; answered with
    404. `retry_after_s` is in the bounds that clients keep, a minute to a day. `explanation_url`
    is a page for people who wonder about an early window. Raises LocalProtocolError otherwise, and
    for a window so near the year 10000 that its end cannot be written.
    """

    window: RenewalWindow | None
    retry_after_s: int = RETRY_DEFAULT_S
    explanation_url: str = ""

    def __post_init__(self) -> None:
        if not RETRY_MIN_S <= self.retry_after_s <= RETRY_MAX_S:
            raise LocalProtocolError(f"retry_after_s is {RETRY_MIN_S} to {RETRY_MAX_S}")
        if _url_untrusted(self.explanation_url) != self.explanation_url:
            raise LocalProtocolError("explanation_url is a URL of https or http")
        if self.window is not None:
            _whole_seconds(self.window)


@value_class
class RenewalInfoRequested(ServerQuestion):
    """When is that certificate to be renewed? Answer: ProvideRenewalInfo, or what answers any.

    `key_identifier` is that of the issuer's key, from the authorityKeyIdentifier.
    """

    method: ClassVar[str] = "renewal_info"
    answers: ClassVar[frozenset[type[Decision]]] = frozenset({ProvideRenewalInfo})

    identity: ClientIdentity
    key_identifier: bytes
    serial: int


@checked
def renewal_item(certificate: x509.Certificate) -> str:
    """Return how a request names that certificate. Draft, 3.1.

    Raises LocalProtocolError for one whose authorityKeyIdentifier is missing, says no key, or is
    longer than any.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        key_identifier = found.value.key_identifier
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as exc:
        raise LocalProtocolError(_NAMELESS) from exc
    if not key_identifier:
        raise LocalProtocolError(_NAMELESS)
    item = f"{_base64url(key_identifier)}.{_base64url(_octets(certificate.serial_number))}"
    RENEWAL_INFO.check_item(item)
    return item


_NAMELESS: Final = "a certificate without a key identifier of its issuer cannot be asked about"


def _read_item(item: str) -> tuple[bytes, int]:
    """Return the key identifier and the serial number that an item names."""
    key_text, dot, serial_text = item.partition(".")
    if not dot:
        raise _no_item("a key identifier and a serial number belong there, with a dot between them")
    key_identifier = _octets_untrusted("key identifier", key_text, _KEY_ID_OCTETS)
    octets = _octets_untrusted("serial number", serial_text, _SERIAL_OCTETS)
    serial = int.from_bytes(octets, "big", signed=True)
    if _octets(serial) != octets:
        raise _no_item("the serial number has octets that DER leaves out")
    return key_identifier, serial


def _octets(serial: int) -> bytes:
    """Return the content octets of an INTEGER in DER."""
    bits = serial.bit_length() if serial >= 0 else (-serial - 1).bit_length()
    return serial.to_bytes(bits // 8 + 1, "big", signed=True)


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _octets_untrusted(what: str, text: str, octets_max: int) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise _no_item(f"the {what} is base64url, without padding")
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as exc:
        raise _no_item(f"the {what} is no whole base64url") from exc
    if len(octets) > octets_max:
        raise _no_item(f"the {what} has more than {octets_max} octets")
    if _base64url(octets) != text:
        raise _no_item(f"the {what} ends in bits that stand for nothing")
    return octets


def _no_item(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("renewal-info/certificate", message)


class _RenewalInfo(OperationDefinition):
    __slots__ = ()

    questions = (RenewalInfoRequested,)

    def examine(self, asking: Asking) -> Inquiry:
        key_identifier, serial = _read_item(asking.item)
        question = RenewalInfoRequested(
            label=asking.label,
            identity=asking.identity,
            channel=asking.channel,
            key_identifier=key_identifier,
            serial=serial,
        )
        return Inquiry(question=question)

    def answer(self, asking: Asking, inquiry: Inquiry, decision: Decision) -> Response:
        if not isinstance(decision, ProvideRenewalInfo):
            raise LocalProtocolError("renewal information is provided")
        if decision.window is None:
            raise RemoteProtocolError(
                "renewal-info/unknown", "there is nothing to renew by that name", Fault.NOT_FOUND
            )
        start, end = _whole_seconds(decision.window)
        said: dict[str, object] = {
            "suggestedWindow": {"start": format_timestamp(start), "end": format_timestamp(end)}
        }
        if decision.explanation_url:
            said["explanationURL"] = decision.explanation_url
        text = json.dumps(said, separators=(",", ":")).encode("ascii")
        return self.success(text, retry_after=decision.retry_after_s)

    def read(self, reading: Reading) -> ClientResult:
        response = reading.response
        if isinstance(response, NotAvailable):
            return RenewalInfoReceived(window=None, retry_after_s=RETRY_DEFAULT_S)
        window, url = _read_untrusted(reading.parts[0])
        wait_s = _wait_s(response, reading.now)
        return RenewalInfoReceived(window=window, retry_after_s=wait_s, explanation_url=url)


def _whole_seconds(window: RenewalWindow) -> tuple[datetime, datetime]:
    """Return a window in whole seconds, none of it left out, so that it never ends as it begins."""
    start, end = window.start.replace(microsecond=0), window.end.replace(microsecond=0)
    try:
        return start, end if end == window.end else end + _SECOND
    except OverflowError as exc:
        raise LocalProtocolError("a window ends in the year 9999 at the latest") from exc


def _wait_s(response: Success, now: datetime) -> int:
    """Return for how long not to ask again. Draft, 4.1: that is the least and the most."""
    return min(max(_said_s(response.retry_after, now), RETRY_MIN_S), RETRY_MAX_S)


def _said_s(value: RetryAfter | None, now: datetime) -> int:
    if value is None:
        return RETRY_DEFAULT_S
    if isinstance(value, int):
        return value
    return math.ceil((value - now).total_seconds())


def _read_untrusted(content: bytes) -> tuple[RenewalWindow | None, str]:
    if len(content) > _JSON_BYTES:
        raise _unreadable(f"it has more than {_JSON_BYTES} bytes")
    try:
        said = json.loads(
            content.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as exc:
        raise _unreadable("it is no JSON") from exc
    window = said.get("suggestedWindow") if isinstance(said, dict) else None
    if not isinstance(window, dict):
        raise _unreadable("it has no suggestedWindow")
    start, end = _moment(window, "start"), _moment(window, "end")
    url = _url_untrusted(said.get("explanationURL"))
    return (RenewalWindow(start=start, end=end) if start < end else None), url


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object's members. RFC 8259 4 leaves open what two of one name mean."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _unreadable("it says one thing twice")
    return found


def _no_number(_text: str) -> object:
    raise _unreadable("it has a number that JSON does not have")


def _moment(window: dict[str, object], name: str) -> datetime:
    text = window.get(name)
    if not isinstance(text, str):
        raise _unreadable(f"its window has no {name}")
    try:
        return parse_timestamp(text)
    except RemoteProtocolError as error:
        raise _unreadable(f"the {name} of its window is no date and time of RFC 3339") from error


def _url_untrusted(value: object) -> str:
    """Return a page that people may be shown, "" for what is none: nothing depends on it."""
    if not isinstance(value, str) or not value.lower().startswith(("https://", "http://")):
        return ""
    if not value.isascii() or any(char.isspace() for char in value):
        return ""
    return value if shown_text(value, _URL_CHARS) == value else ""


def _unreadable(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("renewal-info/unreadable", f"renewal information: {message}")


RENEWAL_INFO: Final = _RenewalInfo(
    name="renewal-info",
    method="GET",
    http=HttpRow(tailored=True),  # a window may be moved at any time: no cache may keep it
    coap=CoapRow(short_path="ri", answers=(CoapAnswer(number=ContentFormat.JSON),)),
    parts=(PartRow(kind="renewal-info", content_type="application/json", is_plain=True),),
    item_chars=(4 * _KEY_ID_OCTETS + 2) // 3 + 1 + (4 * _SERIAL_OCTETS + 2) // 3,
    outcomes=frozenset({Outcome.NOT_AVAILABLE}),
    authentication=Authentication.OPEN,
)
