"""Writes docs/explanation/state-diagrams.md from the transition tables: see `COMMAND`.

Pictures, and the same as tables, which every reader can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from est_core.client.tables import CLIENT_TRANSITIONS, ClientState
from est_core.server.tables import SERVER_TRANSITIONS, ServerState
from tests.docs.pages import DOCS
from tests.docs.state_pictures import picture
from tests.docs.state_places import CLIENT as CLIENT_PLACES
from tests.docs.state_places import SERVER as SERVER_PLACES

_State = TypeVar("_State", bound=Enum)
_Input = TypeVar("_Input")

COMMAND: Final = "python -m tests.docs.state_diagrams"
PAGE: Final = DOCS / "explanation" / "state-diagrams.md"
SERVER_PICTURE: Final = PAGE.with_name("server-states.svg")
CLIENT_PICTURE: Final = PAGE.with_name("client-states.svg")

HEAD: Final = f"""\
# The state machines

Where an exchange stands is a state with a name, and what may happen next is a row of a table
(`est_core/server/tables.py`, `est_core/client/tables.py`). What has no row is refused: a
`LocalProtocolError`, and nothing changes. That is why a driver may make a mistake and go on: the
exchange is where it was.

An arrow is named after what moves the exchange: a step that it takes by itself, or a call of its
driver. What passes in one call is drawn all the same: a request for CA certificates that anybody
may make goes from `received` to `asking` at once, and its first event is the question for them.

Not in the tables: which of several rows is taken. That is what the policy, the checks and the
answer of the server decide.

This page is made from the tables: `{COMMAND}`.

"""

SERVER: Final = """\
## A server exchange

A question waits for its answer in `asking`: whether credentials are good, or what the operation
has to ask. Which [decisions](../reference/events-and-decisions.md) answer it the question itself
says; one leads to the next question (`ask`) or to the response. Each can run out of time and can
lose its client. Where the answer may have created something, a certificate, the exchange then goes
on as `settling` (`settle`) and still takes the decision, so that `issued` has it.

"""

CLIENT: Final = """\
## A client exchange

In `connecting` the driver brings a new connection, or one that is open already. Wherever it stands,
a failure finishes the exchange. `waiting` is for a request that the server has put off; it may last
for days.

"""


def page() -> str:
    """Return the text of the page."""
    return "".join(
        [
            HEAD,
            SERVER,
            *_machine(SERVER_PICTURE, "The states of a server exchange", SERVER_TRANSITIONS),
            CLIENT,
            *_machine(CLIENT_PICTURE, "The states of a client exchange", CLIENT_TRANSITIONS),
        ]
    ).removesuffix("\n")


def edges(
    transitions: Mapping[tuple[_State, _Input], _State],
) -> dict[tuple[_State, _State], tuple[str, ...]]:
    """Return the names of the inputs that lead from one state to another, in table order."""
    found: dict[tuple[_State, _State], tuple[str, ...]] = {}
    for (state, cause), target in transitions.items():
        found[state, target] = (*found.get((state, target), ()), _name(cause))
    return found


def pictures() -> dict[Path, str]:
    """Return the pictures, by the files that they belong in."""
    return {
        SERVER_PICTURE: picture(
            "The states of a server exchange",
            _name(ServerState.RECEIVED),
            _named(edges(SERVER_TRANSITIONS)),
            SERVER_PLACES,
        ),
        CLIENT_PICTURE: picture(
            "The states of a client exchange",
            _name(ClientState.IDLE),
            _named(edges(CLIENT_TRANSITIONS)),
            CLIENT_PLACES,
        ),
    }


def _named(
    arrows: Mapping[tuple[_State, _State], tuple[str, ...]],
) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(_name(state), _name(target)): causes for (state, target), causes in arrows.items()}


def _machine(
    file: Path, title: str, transitions: Mapping[tuple[_State, _Input], _State]
) -> Iterator[str]:
    yield f"![{title}, as in the table below]({file.name})\n\n"
    yield "| in the state | by | to the state |\n| --- | --- | --- |\n"
    for (state, target), causes in edges(transitions).items():
        listed = ", ".join(f"`{cause}`" for cause in causes)
        yield f"| `{_name(state)}` | {listed} | `{_name(target)}` |\n"
    yield "\n"


def _name(part: object) -> str:
    """Return how a state or an input is called on the page."""
    if isinstance(part, Enum):
        return str(part.value)
    if isinstance(part, type):
        return part.__name__
    raise TypeError(part)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    for drawn, text in pictures().items():
        drawn.write_text(text, "utf-8")
