"""Heads and bodies read as a server does, for tests that are about one of the two steps alone."""

from __future__ import annotations

from est_core import Limits, Refused, Request, ServerPolicy, coapmap, default_policy, httpmap
from est_core.wires.httpmap.target import parse_target
from est_core.wires.operation_path import find_operation

EVERYTHING = default_policy()


def http_refusal(
    head: httpmap.RequestHead, *, policy: ServerPolicy, limits: Limits
) -> Refused | None:
    """Return what a head is refused with, None for one whose body is worth reading."""
    judged = httpmap.check_head(head, policy=policy, limits=limits)
    return judged if isinstance(judged, Refused) else None


def http_read(
    head: httpmap.RequestHead,
    body: bytes,
    *,
    limits: Limits,
    accept_pem: bool = True,
    accept_der: bool = True,
) -> tuple[Request, httpmap.ReplyShape]:
    """Return the request of a head that nobody has judged, and of its body."""
    operation, label, item = parse_target(head.target, EVERYTHING)
    shape = httpmap.reply_shape(head)
    judged = httpmap.CheckedHead(
        head=head, operation=operation, label=label, item=item, shape=shape
    )
    request = httpmap.read(
        judged, body, limits=limits, accept_pem=accept_pem, accept_der=accept_der
    )
    return request, shape


def coap_refusal(
    head: coapmap.RequestHead, *, policy: ServerPolicy, limits: Limits
) -> Refused | None:
    """Return what a head is refused with, None for one whose payload is worth having."""
    judged = coapmap.check_head(head, policy=policy, limits=limits)
    return judged if isinstance(judged, Refused) else None


def coap_read(
    head: coapmap.RequestHead, payload: bytes, *, limits: Limits
) -> tuple[Request, coapmap.ReplyShape]:
    """Return the request of a head that nobody has judged, and of its payload."""
    operation, label, item = find_operation(
        head.path, EVERYTHING.on_coap, EVERYTHING.labels, datagram=True
    )
    shape = coapmap.reply_shape(head)
    judged = coapmap.CheckedHead(
        head=head, operation=operation, label=label, item=item, shape=shape
    )
    return coapmap.read(judged, payload, limits=limits), shape
