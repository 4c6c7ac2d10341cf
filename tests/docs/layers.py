"""Places a graph without cycles in layers: what leads nowhere at the bottom, every arrow downwards.

The usual steps (Sugiyama, Tagawa and Toda 1981). Layers are by the longest way down. An arrow that
passes a layer gets a place in it, so that it runs beside the boxes. Two places of a layer change as
long as that saves crossings. Then all move towards what they are joined to, as far as those beside
them let them. The same graph gives the same places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from tests.docs.state_pictures import MARGIN, Box, Placing, Point, Way
from tests.law.arrows import Graph, reachable

Place = tuple[str, str]
"""A node, twice; or an arrow by its ends, where it passes a layer."""

CHAR: Final = 7
HEIGHT: Final = 30
BETWEEN_LAYERS: Final = 84
GAP: Final = 22
SWEEPS: Final = 40


def reduced(graph: Graph) -> dict[str, frozenset[str]]:
    """Return the graph without the arrows that a longer way replaces."""
    far = {node: reachable(graph, node) for node in graph}
    return {
        node: targets - frozenset().union(*(far[target] for target in targets))
        for node, targets in graph.items()
    }


def placed(graph: Graph, labels: Mapping[str, str]) -> Placing:
    """Return where the nodes and the arrows of a graph stand."""
    drawing = _Drawing(graph)
    drawing.put_in_order()
    widths = {node: CHAR * len(label) + 24 for node, label in labels.items()}
    middles = drawing.middles(widths)
    boxes = {}
    for height, layer in enumerate(drawing.layers):
        y = MARGIN + HEIGHT // 2 + BETWEEN_LAYERS * (len(drawing.layers) - 1 - height)
        for place in layer:
            width = widths.get(place[0], 0) if place[0] == place[1] else 0
            boxes[height, place] = Box(x=middles[height, place], y=y, width=width, height=HEIGHT)
    ways = {}
    for source, targets in graph.items():
        for target in sorted(targets):
            passed = [
                boxes[height, (source, target)]
                for height in range(drawing.heights[source] - 1, drawing.heights[target], -1)
            ]
            ends = [boxes[drawing.heights[end], (end, end)] for end in (source, target)]
            ways[source, target] = Way(points=tuple(_points(ends[0], passed, ends[1])))
    at = {node: boxes[drawing.heights[node], (node, node)] for node in graph}
    return Placing(boxes=at, ways=ways)


class _Drawing:
    """The layers from the bottom up, and the links between each and the one below it."""

    def __init__(self, graph: Graph) -> None:
        self.heights: dict[str, int] = {}
        for node in graph:
            self._find_height(graph, node)
        self.layers: list[list[Place]] = [[] for _ in range(max(self.heights.values()) + 1)]
        self.links: list[list[tuple[Place, Place]]] = [[] for _ in self.layers]
        for node, targets in graph.items():
            self.layers[self.heights[node]].append((node, node))
            for target in sorted(targets):
                self._add_link(node, target)

    def _find_height(self, graph: Graph, node: str) -> int:
        if node not in self.heights:
            below = [self._find_height(graph, target) for target in graph[node]]
            self.heights[node] = max(below, default=-1) + 1
        return self.heights[node]

    def _add_link(self, source: str, target: str) -> None:
        upper: Place = (source, source)
        for height in range(self.heights[source] - 1, self.heights[target], -1):
            self.layers[height].append((source, target))
            self.links[height + 1].append((upper, (source, target)))
            upper = (source, target)
        self.links[self.heights[target] + 1].append((upper, (target, target)))

    def put_in_order(self) -> None:
        """Let two places of a layer change as long as that saves crossings."""
        changed = True
        while changed:
            changed = False
            for height, layer in enumerate(self.layers):
                for left, right in combinations(range(len(layer)), 2):
                    before = self._cost(height)
                    layer[left], layer[right] = layer[right], layer[left]
                    if self._cost(height) < before:
                        changed = True
                    else:
                        layer[left], layer[right] = layer[right], layer[left]

    def _cost(self, height: int) -> tuple[int, int]:
        """Return how often the links of a layer cross each other, and how far they lead aside."""
        crossings = aside = 0
        for upper in (height, height + 1):
            if not 0 < upper < len(self.layers):
                continue
            over = {place: at for at, place in enumerate(self.layers[upper])}
            under = {place: at for at, place in enumerate(self.layers[upper - 1])}
            lines = [(over[source], under[target]) for source, target in self.links[upper]]
            crossings += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(lines, 2))
            aside += sum((a - b) ** 2 for a, b in lines)
        return crossings, aside

    def middles(self, widths: Mapping[str, int]) -> dict[tuple[int, Place], int]:
        """Return the middle of each place, by its layer."""
        sizes = [
            [widths[place[0]] if place[0] == place[1] else 0 for place in layer]
            for layer in self.layers
        ]
        starts = [_starts(size) for size in sizes]
        found = [list(start) for start in starts]
        for sweep in range(SWEEPS):
            order = range(len(self.layers))
            for height in order if sweep % 2 else reversed(order):
                wanted = self._wanted(height, found)
                found[height] = _apart(wanted, starts[height])
        left = min(row[0] - size[0] / 2 for row, size in zip(found, sizes, strict=True))
        return {
            (height, place): round(middle - left) + MARGIN
            for height, layer in enumerate(self.layers)
            for place, middle in zip(layer, found[height], strict=True)
        }

    def _wanted(self, height: int, found: Sequence[Sequence[float]]) -> list[float]:
        """Return where each place would be in the middle of what it is joined to."""
        joined: dict[Place, list[float]] = {place: [] for place in self.layers[height]}
        for upper in (height, height + 1):
            if not 0 < upper < len(self.layers):
                continue
            over = dict(zip(self.layers[upper], found[upper], strict=True))
            under = dict(zip(self.layers[upper - 1], found[upper - 1], strict=True))
            for source, target in self.links[upper]:
                if upper == height:
                    joined[source].append(under[target])
                else:
                    joined[target].append(over[source])
        return [
            sum(joined[place]) / len(joined[place]) if joined[place] else at
            for place, at in zip(self.layers[height], found[height], strict=True)
        ]


def _starts(sizes: Sequence[int]) -> list[float]:
    """Return the middles of places that stand as close to each other as they may."""
    middles, edge = [], 0.0
    for size in sizes:
        middles.append(edge + size / 2)
        edge += size + GAP
    return middles


def _apart(wanted: Sequence[float], starts: Sequence[float]) -> list[float]:
    """Return the middles nearest to those wanted, no closer together than the starts are."""
    blocks: list[
        list[float]
    ] = []  # neighbours that touch, by how far they want to be from the start
    for want, start in zip(wanted, starts, strict=True):
        blocks.append([want - start])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    shifts = [_mean(block) for block in blocks for _ in block]
    return [start + shift for start, shift in zip(starts, shifts, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _points(source: Box, passed: Sequence[Box], target: Box) -> Iterator[Point]:
    """Yield the way of an arrow: out of the bottom of a box, beside others, into the top of one."""
    half = HEIGHT // 2
    first, last = [*passed, target][0], [source, *passed][-1]
    yield _edge(source, first), source.y + half
    for box in passed:
        yield box.x, box.y - half
        yield box.x, box.y + half
    yield _edge(target, last), target.y - half


def _edge(box: Box, towards: Box) -> int:
    """Return where on an edge of a box an arrow ends, so that not all end in one point."""
    most = box.width // 2 - 12
    return box.x + max(-most, min(most, (towards.x - box.x) // 4))
