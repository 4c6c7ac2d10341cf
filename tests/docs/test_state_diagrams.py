"""The page of state diagrams draws the tables that the exchanges obey, all of them."""

from __future__ import annotations

from est_core._tables import CLIENT_TRANSITIONS, SERVER_TRANSITIONS, ClientState, ServerState
from tests.docs.pages import blocks
from tests.docs.state_diagrams import COMMAND, PAGE, edges, page
from tests.docs.tables import codes, tables


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text("utf-8") == page(), f"run: {COMMAND}"


def test_every_transition_stands_in_a_table_once() -> None:
    sizes = (len(SERVER_TRANSITIONS), len(CLIENT_TRANSITIONS))
    for (_, rows), size in zip(tables(PAGE), sizes, strict=True):
        listed = [
            (codes(row["in the state"])[0], cause, codes(row["to the state"])[0])
            for row in rows
            for cause in codes(row["by"])
        ]
        assert len(set(listed)) == len(listed) == size


def test_every_state_is_drawn_and_all_but_the_first_are_reached() -> None:
    server, client = blocks(PAGE)
    assert all(f"as {state.name}\n" in server.text for state in ServerState)
    assert all(f"as {state.name}\n" in client.text for state in ClientState)
    into_server = {target for _, target in edges(SERVER_TRANSITIONS)}
    into_client = {target for _, target in edges(CLIENT_TRANSITIONS)}
    assert set(ServerState) - into_server == {ServerState.RECEIVED}
    assert set(ClientState) - into_client == {ClientState.IDLE}
