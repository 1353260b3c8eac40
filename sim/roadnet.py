"""The plane geometry a district is drawn with: junctions, curved lines that never touch, and the net that holds them.

Lengths are metres on a local plane. Nothing here knows what a village or a farm is.
"""

import bisect
import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

type XY = tuple[float, float]
type Link = tuple[int, int]
type Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Way:
    """A drawn road: node numbers in order, and its tags."""

    nodes: tuple[int, ...]
    highway: str
    name: str
    maxspeed_kmh: int | None
    is_oneway: bool
    surface: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on a rural road where a lane may branch off, and the heading of the road there (radians)."""

    node: int
    heading: float


@dataclass(slots=True)
class RoadNet:
    """The roads drawn so far. A line that `crosses` nothing may be added; lines meet at shared nodes alone."""

    points: list[XY] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    _lines: list[tuple[Box, list[XY]]] = field(default_factory=list)
    _branched: set[int] = field(default_factory=set)
    _lane_ends: list[XY] = field(default_factory=list)

    def add_node(self, at: XY) -> int:
        """Add a node; gives its number."""
        self.points.append(at)
        return len(self.points) - 1

    def add_way(
        self,
        nodes: Sequence[int],
        highway: str,
        name: str,
        maxspeed_kmh: int | None,
        *,
        is_oneway: bool = False,
        surface: str = "asphalt",
    ) -> None:
        """Add a road over existing nodes."""
        self.ways.append(Way(tuple(nodes), highway, name, maxspeed_kmh, is_oneway, surface))
        line = [self.points[node] for node in nodes]
        self._lines.append((_box(line), line))

    def crosses(self, line: Sequence[XY]) -> bool:
        """Whether the line cuts any road drawn so far (to share an end with one is not to cut it)."""
        box = _box(line)
        return any(_overlap(box, other) and self.cross(line, drawn) for other, drawn in self._lines)

    @staticmethod
    def cross(line: Sequence[XY], other: Sequence[XY]) -> bool:
        """Whether two lines cut each other away from shared points."""
        return any(_cut(a, b, c, d) for a, b in itertools.pairwise(line) for c, d in itertools.pairwise(other))

    def first_beyond(self, nodes: Sequence[int], radius_m: float) -> int:
        """Index of the first node at least this far (along the line) from its start, never the last one."""
        steps = (math.dist(self.points[a], self.points[b]) for a, b in itertools.pairwise(nodes))
        return min(bisect.bisect_left(list(itertools.accumulate(steps, initial=0.0)), radius_m), len(nodes) - 2)

    def way_ends_near(self, centre: int) -> list[int]:
        """The far ends of the roads that start or end at a node."""
        ends = [(way.nodes[0], way.nodes[-1]) for way in self.ways]
        return [b if a == centre else a for a, b in ends if centre in {a, b}]

    def rural_nodes(self, *highways: str) -> list[Spot]:
        """Where lanes may branch off roads of these classes: inner nodes outside villages, not yet branched."""
        return [
            Spot(here, math.atan2(self.points[b][1] - self.points[a][1], self.points[b][0] - self.points[a][0]))
            for way in self.ways
            if way.highway in highways and not way.name.endswith(" Street") and way.surface == "asphalt" and way.name
            for a, here, b in zip(way.nodes[1:], way.nodes[2:], way.nodes[3:-1], strict=False)
            if here not in self._branched
        ]

    def try_lane(self, rng: Random, spot: Spot, length_m: float, *, apart_m: float = 0.0) -> list[int]:
        """Nodes of a curved lane that leaves the road at `spot`; none where it would cut a road or end near another."""
        if spot.node in self._branched:
            return []
        start = self.points[spot.node]
        aim = spot.heading + rng.choice((-1, 1)) * math.pi / 2 + rng.uniform(-0.45, 0.45)
        end = (start[0] + length_m * math.cos(aim), start[1] + length_m * math.sin(aim))
        line = curve(rng, start, end, bend=0.14, step_m=45.0)
        if self.crosses(line) or any(math.dist(end, other) < apart_m for other in self._lane_ends):
            return []
        self._branched.add(spot.node)
        self._lane_ends.append(end)
        return [spot.node, *(self.add_node(at) for at in line[1:])]

    def try_spur(self, rng: Random, node: int, away_from: XY, length_m: float, highway: str, name: str) -> None:
        """Add a short dead end that leads outward from a node, where there is room."""
        start = self.points[node]
        aim = math.atan2(start[1] - away_from[1], start[0] - away_from[0]) + rng.uniform(-0.2, 0.2)
        length_m *= rng.uniform(0.7, 1.4)
        end = (start[0] + length_m * math.cos(aim), start[1] + length_m * math.sin(aim))
        line = curve(rng, start, end, bend=0.05, step_m=40.0)
        if not self.crosses(line):
            self.add_way([node, *(self.add_node(at) for at in line[1:])], highway, name, None)


def scatter(rng: Random, width_m: float, height_m: float, *, spacing_m: float) -> list[XY]:
    """Random points at least `spacing_m` apart, until no more are found; well clear of the rim."""
    points: list[XY] = []
    misses = 0
    while misses < 300:
        at = (rng.uniform(700.0, width_m - 700.0), rng.uniform(700.0, height_m - 700.0))
        if all(math.dist(at, other) >= spacing_m for other in points):
            points.append(at)
            misses = 0
        else:
            misses += 1
    return points


def gabriel_links(points: Sequence[XY]) -> list[Link]:
    """Pairs with no third point in the circle over them: all are connected, no two cross, much like country roads."""
    links = []
    for (a, pa), (b, pb) in itertools.combinations(enumerate(points), 2):
        middle, reach = ((pa[0] + pb[0]) / 2, (pa[1] + pb[1]) / 2), math.dist(pa, pb) / 2
        if all(c in {a, b} or math.dist(middle, pc) >= reach for c, pc in enumerate(points)):
            links.append((a, b))
    return links


def thin(rng: Random, points: Sequence[XY], links: Sequence[Link], *, share: float) -> list[Link]:
    """Take out about this share of the links, never one whose loss would cut the net in two or leave a dead end."""
    kept = dict.fromkeys(links)
    for link in rng.sample(list(links), len(links)):
        if len(kept) <= len(links) * (1 - share):
            break
        rest = [other for other in kept if other != link]
        degrees = [sum(end in other for other in rest) for end in link]
        if min(degrees) >= 2 and _is_connected(len(points), rest):
            del kept[link]
    return list(kept)


def shortest_path(costs: Mapping[Link, float], start: int, goal: int) -> list[Link]:
    """Links of the cheapest way from start to goal, which must exist."""
    neighbours: dict[int, list[tuple[int, Link]]] = defaultdict(list)
    for link in costs:
        neighbours[link[0]].append((link[1], link))
        neighbours[link[1]].append((link[0], link))
    best: dict[int, tuple[float, Link | None]] = {start: (0.0, None)}
    queue = [(0.0, start)]
    while queue:
        cost, node = heapq.heappop(queue)
        if node == goal:
            break
        for other, link in neighbours[node]:
            total = cost + costs[link]
            if other not in best or total < best[other][0]:
                best[other] = (total, link)
                heapq.heappush(queue, (total, other))
    path = []
    while (step := best[goal][1]) is not None:
        path.append(step)
        goal = step[0] if step[1] == goal else step[1]
    return path


def curve(rng: Random, start: XY, end: XY, *, bend: float, step_m: float) -> list[XY]:
    """A winding line with a point about every `step_m`; `bend` is how far it strays, as a share of its length."""
    length = math.dist(start, end)
    steps = max(2, round(length / step_m))
    waves = [(k, rng.uniform(-bend, bend) * length / k) for k in (1, 2, 3, 5)]
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    line = [start]
    for i in range(1, steps):
        part = i / steps
        aside = sum(reach * math.sin(math.pi * k * part) for k, reach in waves)
        ahead = length * part
        line.append((start[0] + along[0] * ahead - along[1] * aside, start[1] + along[1] * ahead + along[0] * aside))
    return [*line, end]


def _is_connected(count: int, links: Sequence[Link]) -> bool:
    neighbours: dict[int, list[int]] = defaultdict(list)
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    seen, edge = {0}, [0]
    while edge:
        fresh = [n for n in neighbours[edge.pop()] if n not in seen]
        seen.update(fresh)
        edge.extend(fresh)
    return len(seen) == count


def _box(line: Sequence[XY]) -> Box:
    xs, ys = [x for x, _ in line], [y for _, y in line]
    return min(xs), min(ys), max(xs), max(ys)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _cut(a: XY, b: XY, c: XY, d: XY) -> bool:
    """Whether segments ab and cd cut each other; segments that share an end do not."""
    if a in (c, d) or b in (c, d):
        return False
    return _side(a, b, c) * _side(a, b, d) <= 0 and _side(c, d, a) * _side(c, d, b) <= 0


def _side(a: XY, b: XY, c: XY) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
