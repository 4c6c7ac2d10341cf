"""A graph in layers shows what leads where, and can be read."""

from __future__ import annotations

from itertools import combinations
from typing import Final

import pytest

from tests.docs.code_map import graph
from tests.docs.layers import placed, reduced
from tests.docs.state_pictures import Box
from tests.law.arrows import Graph, reachable
from tests.law.sources import PACKAGES

SMALL: Final[Graph] = {
    "top": frozenset({"left", "right", "low"}),
    "left": frozenset({"low"}),
    "right": frozenset({"low", "alone"}),
    "low": frozenset(),
    "alone": frozenset(),
}
GRAPHS: Final = {"small": SMALL, **{package: graph(package) for package in PACKAGES}}
every_graph: Final = pytest.mark.parametrize("drawn", GRAPHS.values(), ids=GRAPHS)


def test_an_arrow_is_left_out_where_a_longer_way_leads() -> None:
    assert reduced(SMALL) == {**SMALL, "top": frozenset({"left", "right"})}


@every_graph
def test_what_is_left_leads_wherever_the_whole_leads(drawn: Graph) -> None:
    less = reduced(drawn)
    assert [reachable(less, node) for node in drawn] == [reachable(drawn, node) for node in drawn]


@every_graph
def test_boxes_stand_apart_and_every_arrow_leads_down_beside_them(drawn: Graph) -> None:
    less = reduced(drawn)
    places = placed(less, {node: node for node in less})
    for one, other in combinations(places.boxes.values(), 2):
        assert one.y != other.y or abs(one.x - other.x) > (one.width + other.width) // 2
    assert set(places.ways) == {(source, end) for source in less for end in less[source]}
    for (source, target), way in places.ways.items():
        heights = [y for _, y in way.points]
        assert heights == sorted(set(heights))
        for node, box in places.boxes.items():
            assert node in (source, target) or not any(_touches(box, at) for at in way.points)


def _touches(box: Box, point: tuple[int, int]) -> bool:
    return abs(point[0] - box.x) <= box.width // 2 and abs(point[1] - box.y) <= box.height // 2
