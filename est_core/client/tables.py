"""The transition table of the client's exchange, and nothing else.

Everything that may change a state stands here as data: (state, input) -> state. A pair that is
absent is a LocalProtocolError and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique
from types import MappingProxyType
from typing import Final


@unique
class ClientState(Enum):
    """Where a client exchange stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SIGNING = "signing"
    SENT = "sent"
    CHALLENGED = "challenged"
    REDIRECTED = "redirected"
    DECIDING_TRUST = "deciding-trust"
    WAITING = "waiting"
    DONE = "done"


@unique
class ClientInput(Enum):
    """What moves a client exchange: calls of the driver, and what follows from an answer."""

    CONNECT = "connect"
    ASK_SIGNATURE = "ask-signature"
    SEND = "send"
    ASK_CREDENTIALS = "ask-credentials"
    ASK_REDIRECT = "ask-redirect"
    ASK_TRUST = "ask-trust"
    WAIT = "wait"
    FINISH = "finish"


_C = ClientState
_I = ClientInput

CLIENT_TRANSITIONS: Final[Mapping[tuple[ClientState, ClientInput], ClientState]] = MappingProxyType(
    {
        (_C.IDLE, _I.CONNECT): _C.CONNECTING,
        (_C.IDLE, _I.FINISH): _C.DONE,
        (_C.CONNECTING, _I.CONNECT): _C.CONNECTING,  # the version was not what was asked for
        (_C.CONNECTING, _I.ASK_SIGNATURE): _C.SIGNING,
        (_C.CONNECTING, _I.SEND): _C.SENT,
        (_C.CONNECTING, _I.FINISH): _C.DONE,
        (_C.SIGNING, _I.SEND): _C.SENT,
        (_C.SIGNING, _I.CONNECT): _C.CONNECTING,  # lost while signing
        (_C.SIGNING, _I.FINISH): _C.DONE,
        (_C.SENT, _I.CONNECT): _C.CONNECTING,  # same-origin redirect, or never sent
        (_C.SENT, _I.ASK_CREDENTIALS): _C.CHALLENGED,
        (_C.SENT, _I.ASK_REDIRECT): _C.REDIRECTED,
        (_C.SENT, _I.ASK_TRUST): _C.DECIDING_TRUST,
        (_C.SENT, _I.WAIT): _C.WAITING,
        (_C.SENT, _I.FINISH): _C.DONE,
        (_C.CHALLENGED, _I.CONNECT): _C.CONNECTING,
        (_C.CHALLENGED, _I.FINISH): _C.DONE,
        (_C.REDIRECTED, _I.CONNECT): _C.CONNECTING,
        (_C.REDIRECTED, _I.FINISH): _C.DONE,
        (_C.DECIDING_TRUST, _I.FINISH): _C.DONE,
        (_C.WAITING, _I.CONNECT): _C.CONNECTING,
        (_C.WAITING, _I.FINISH): _C.DONE,
    }
)
