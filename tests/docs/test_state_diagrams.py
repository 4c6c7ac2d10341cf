"""The page of state diagrams draws the tables that the exchanges obey, all of them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from est_core.client.tables import CLIENT_TRANSITIONS, ClientState
from est_core.server.tables import SERVER_TRANSITIONS, ServerState
from tests.docs.state_diagrams import (
    CLIENT_PICTURE,
    COMMAND,
    PAGE,
    SERVER_PICTURE,
    edges,
    page,
    pictures,
)
from tests.docs.state_pictures import Box, Placing, Way, picture
from tests.docs.state_places import CLIENT, SERVER
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


def test_the_pictures_are_what_the_tables_say() -> None:
    for file, text in pictures().items():
        assert file.read_text("utf-8") == text, f"run: {COMMAND}"
        assert f"]({file.name})" in PAGE.read_text("utf-8")


def test_every_state_is_drawn_and_all_but_the_first_are_reached() -> None:
    drawn = {file: _texts(text, "state") for file, text in pictures().items()}
    assert drawn[SERVER_PICTURE] == {state.value for state in ServerState}
    assert drawn[CLIENT_PICTURE] == {state.value for state in ClientState}
    into_server = {target for _, target in edges(SERVER_TRANSITIONS)}
    into_client = {target for _, target in edges(CLIENT_TRANSITIONS)}
    assert set(ServerState) - into_server == {ServerState.RECEIVED}
    assert set(ClientState) - into_client == {ClientState.IDLE}


def test_every_arrow_has_its_label_or_runs_into_one_that_has() -> None:
    for arrows, file in (
        (edges(SERVER_TRANSITIONS).values(), SERVER_PICTURE),
        (edges(CLIENT_TRANSITIONS).values(), CLIENT_PICTURE),
    ):
        words = {word for label in _texts(pictures()[file], "label") for word in label.split(", ")}
        causes = {cause for arrow in arrows for cause in arrow}
        assert causes <= {word.rstrip(",") for word in words}


def test_a_picture_leaves_no_state_and_no_arrow_out() -> None:
    box, way = Box(x=80, y=20), Way(points=((1, 1), (2, 2)))
    places = Placing(boxes={"a": box, "b": box}, ways={("a", "b"): way})
    assert "<svg" in picture("it", "a", {("a", "b"): ("go",)}, places)
    for arrows in ({("a", "c"): ("go",)}, {("a", "b"): ("go",), ("b", "a"): ("back",)}):
        with pytest.raises(ValueError, match="place what there is"):
            picture("it", "a", arrows, places)


def test_arrows_begin_and_end_at_the_edges_of_their_boxes() -> None:
    for places in (SERVER, CLIENT):
        for (source, target), way in places.ways.items():
            for state, point in ((source, way.points[0]), (target, way.points[-1])):
                assert _is_on_edge(places.boxes[state], point), (source, target)


def _is_on_edge(box: Box, point: tuple[int, int]) -> bool:
    across, down = abs(point[0] - box.x), abs(point[1] - box.y)
    half = box.width // 2, box.height // 2
    return (across == half[0] and down <= half[1]) or (down == half[1] and across <= half[0])


def _texts(svg: str, kind: str) -> set[str]:
    root = ElementTree.fromstring(svg)  # well-formed, too
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return {str(each.text) for each in found if each.get("class") == kind}
