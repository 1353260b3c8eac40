"""A dairy district that does not exist, drawn from a seed.

The ground is a rectangle of about 25 by 20 km in a made-up frame near 47.9 N 10.2 E. Nothing on it is real: not a
road, a village or a farm. Lengths are metres on a local plane (x east, y north) until the last step makes them degrees.
"""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal
from xml.sax.saxutils import quoteattr

from core.errors import Invalid
from sim.roadnet import XY, Link, RoadNet, curve, gabriel_links, scatter, shortest_path, thin

NAME = "Clovervale (made up)"
ORIGIN_LAT = 47.80
ORIGIN_LON = 10.05
WIDTH_M = 25_000.0
HEIGHT_M = 20_000.0
METRES_PER_DEGREE = 111_320.0
MAX_FARMS = 400

type PlaceKind = Literal["dairy", "farm", "town", "village"]

# Signed speed on each class of road (None = no sign). A track carries tractors only: OSRM's car profile refuses it too.
MAXSPEED_KMH: Mapping[str, int | None] = {
    "primary": 80,
    "secondary": 70,
    "tertiary": 60,
    "unclassified": 50,
    "residential": None,
    "service": 30,
    "track": None,
}
VILLAGE_MAXSPEED_KMH = 50
PLACE_TAGS: Mapping[PlaceKind, Mapping[str, str]] = {
    "dairy": {"man_made": "works", "product": "milk", "landuse": "industrial"},
    "farm": {"place": "farm", "landuse": "farmyard", "produce": "milk"},
    "town": {"place": "town"},
    "village": {"place": "village"},
}

_STEMS = (
    *("Alder", "Ash", "Birch", "Bramble", "Clover", "Elm", "Fern", "Hazel", "Heather", "Juniper", "Larch", "Linden"),
    *("Maple", "Meadow", "Moss", "Orchard", "Rowan", "Rye", "Sedge", "Thistle", "Willow", "Wren"),
)
_VILLAGE_ENDINGS = ("ford", "field", "wick", "stead", "bury", "bridge", "ton", "hollow")
_FARM_ENDINGS = ("Hill", "Bank", "Croft", "End", "Gate", "Top", "Side", "Nook", "Holt", "Rise", "Dell", "Fold")


class DistrictImpossible(Invalid):
    """No district can be drawn from these numbers."""

    code = "district_impossible"


@dataclass(frozen=True, slots=True)
class Place:
    """A named point of the district; `node` is the OSM node that carries it, and it lies on a road."""

    id: str
    kind: PlaceKind
    name: str
    lat: float
    lon: float
    node: int


@dataclass(frozen=True, slots=True)
class Road:
    """One OSM way: its nodes in driving order and the tags that matter for routing. `maxspeed_kmh` None = no sign."""

    id: int
    nodes: tuple[int, ...]
    highway: str
    name: str
    maxspeed_kmh: int | None
    is_oneway: bool
    surface: str


@dataclass(frozen=True, slots=True)
class District:
    """A whole district. `nodes[i]` is the (lat, lon) of OSM node `i + 1`; bounds are south, west, north, east."""

    seed: int
    name: str
    bounds: tuple[float, float, float, float]
    depot: Place
    farms: tuple[Place, ...]
    villages: tuple[Place, ...]
    nodes: tuple[tuple[float, float], ...]
    roads: tuple[Road, ...]

    def position(self, node: int) -> tuple[float, float]:
        """(lat, lon) of an OSM node of this district."""
        return self.nodes[node - 1]

    def drivable(self) -> dict[int, list[int]]:
        """The directed road graph a truck may use: OSM node -> the nodes it can drive to next."""
        ahead: dict[int, list[int]] = defaultdict(list)
        for road in self.roads:
            if road.highway == "track":
                continue
            for here, there in itertools.pairwise(road.nodes):
                ahead[here].append(there)
                if not road.is_oneway:
                    ahead[there].append(here)
        return dict(ahead)


def generate(seed: int = 7, *, farms: int = 60) -> District:
    """Draw the district of `seed` with 1 to 400 farms. The same arguments give the same district, to the byte."""
    if not 1 <= farms <= MAX_FARMS:
        raise DistrictImpossible(f"a district holds 1 to {MAX_FARMS} farms, not {farms}")
    return _Draughtsman(seed, farms).draw()


class _Draughtsman:
    """Draws one district, coarse to fine: junctions, roads by rank, villages, dairy, farms, field tracks."""

    def __init__(self, seed: int, farms: int) -> None:
        self._seed = seed
        self._farm_count = farms
        self._rng = Random(seed)
        self._net = RoadNet()
        self._village_names = _shuffled_names(self._rng, _VILLAGE_ENDINGS, "{}{}")
        self._farm_names = _shuffled_names(self._rng, _FARM_ENDINGS, "{} {} Farm")

    def draw(self) -> District:
        junctions = scatter(self._rng, WIDTH_M, HEIGHT_M, spacing_m=1_750.0)
        links = thin(self._rng, junctions, gabriel_links(junctions), share=0.2)
        centres = self._choose_centres(junctions, links)
        ranks = self._rank(junctions, links, centres)
        for at in junctions:
            self._net.add_node(at)
        villages = {centre: next(self._village_names) for centre in centres}
        self._lay_roads(junctions, ranks, villages)
        for centre in centres:
            self._lay_streets(centre, villages[centre])
        depot = self._lay_dairy(centres[0])
        ends = [self._lay_lane(reach_m=(140.0, 900.0)) for _ in range(self._farm_count)]
        for _ in range(24):
            self._lay_track()
        return self._finish(villages, depot, ends)

    def _choose_centres(self, junctions: Sequence[XY], links: Sequence[Link]) -> list[int]:
        """The town first (nearest the middle), then villages as far from each other as the map allows."""
        degree = [sum(node in link for link in links) for node in range(len(junctions))]
        open_ones = [node for node in range(len(junctions)) if degree[node] >= 3]
        middle = (WIDTH_M / 2, HEIGHT_M / 2)
        chosen = [min(open_ones, key=lambda node: math.dist(junctions[node], middle))]
        while len(chosen) < min(15, len(open_ones)):
            chosen.append(
                max(open_ones, key=lambda node: min(math.dist(junctions[node], junctions[other]) for other in chosen))
            )
        return chosen

    def _rank(self, junctions: Sequence[XY], links: Sequence[Link], centres: Sequence[int]) -> dict[Link, str]:
        """Give every link its class: through roads by the town, village to town, village to village, the rest."""
        ranks: dict[Link, str] = dict.fromkeys(links, "unclassified")
        cheaper = {"unclassified": 1.0, "tertiary": 0.8, "secondary": 0.65, "primary": 0.5}

        def promote(start: int, goal: int, rank: str) -> None:
            costs = {link: math.dist(junctions[link[0]], junctions[link[1]]) * cheaper[ranks[link]] for link in links}
            for link in shortest_path(costs, start, goal):
                if cheaper[rank] < cheaper[ranks[link]]:
                    ranks[link] = rank

        town = centres[0]
        by_x = sorted(range(len(junctions)), key=lambda node: junctions[node][0])
        by_y = sorted(range(len(junctions)), key=lambda node: junctions[node][1])
        for rim in (by_x[0], by_x[-1], by_y[0], by_y[-1]):
            promote(rim, town, "primary")
        for village in centres[1:]:
            promote(village, town, "secondary")
        for village in centres:
            others = sorted(centres, key=lambda other: math.dist(junctions[village], junctions[other]))
            for other in others[1:3]:
                promote(village, other, "tertiary")
        return ranks

    def _lay_roads(self, junctions: Sequence[XY], ranks: Mapping[Link, str], villages: Mapping[int, str]) -> None:
        """Bend each link as far as it can without touching another; cut it where a village begins."""
        waiting = dict(ranks)
        for link, rank in ranks.items():
            del waiting[link]
            chords = [[junctions[a], junctions[b]] for a, b in waiting]
            start, end = junctions[link[0]], junctions[link[1]]
            for bend in (0.09, 0.05, 0.02, 0.0):
                line = curve(self._rng, start, end, bend=bend, step_m=85.0)
                if not self._net.crosses(line) and not any(self._net.cross(line, chord) for chord in chords):
                    break
            nodes = [link[0], *(self._net.add_node(at) for at in line[1:-1]), link[1]]
            name = self._road_name(rank, link, villages)
            reach_m = (420.0 if rank in {"primary", "secondary"} else 300.0) * self._rng.uniform(0.7, 1.2)
            head = self._net.first_beyond(nodes, reach_m) if link[0] in villages else 0
            tail = self._net.first_beyond(nodes[::-1], reach_m) if link[1] in villages else 0
            last = len(nodes) - 1 - tail
            self._net.add_way(nodes[head : last + 1], rank, name, MAXSPEED_KMH[rank])
            if head:
                self._net.add_way(nodes[: head + 1], rank, f"{villages[link[0]]} Street", VILLAGE_MAXSPEED_KMH)
            if tail:
                self._net.add_way(nodes[last:], rank, f"{villages[link[1]]} Street", VILLAGE_MAXSPEED_KMH)

    def _road_name(self, rank: str, link: Link, villages: Mapping[int, str]) -> str:
        if rank == "unclassified":
            return f"{self._rng.choice(_STEMS)} Lane"
        near = villages.get(link[0]) or villages.get(link[1])
        return f"{near} Road" if near else f"{self._rng.choice(_STEMS)} Road"

    def _lay_streets(self, centre: int, name: str) -> None:
        """A ring of streets between the roads that enter the village, one of them one-way, and some dead ends."""
        middle = self._net.points[centre]
        gates = sorted(self._net.way_ends_near(centre), key=lambda node: _angle(middle, self._net.points[node]))
        for number, (gate, following) in enumerate(zip(gates, [*gates[1:], *gates[:1]], strict=True)):
            turn = (_angle(middle, self._net.points[following]) - _angle(middle, self._net.points[gate])) % math.tau
            if gate == following or turn > math.pi:
                continue
            line = _arc(middle, self._net.points[gate], self._net.points[following], turn)
            if self._net.crosses(line):
                continue
            nodes = [gate, *(self._net.add_node(at) for at in line[1:-1]), following]
            is_oneway = number == 0 and len(gates) > 2
            street = f"{name} {('Ring', 'Row', 'Green')[number % 3]}"
            self._net.add_way(nodes, "residential", street, None, is_oneway=is_oneway)
            half = nodes[len(nodes) // 2]
            self._net.try_spur(self._rng, half, middle, 170.0, "residential", f"{self._rng.choice(_STEMS)} Close")

    def _lay_dairy(self, town: int) -> int:
        """The dairy stands on a short service road off a main road, one to three kilometres out of town."""
        middle = self._net.points[town]
        near = [
            way_node
            for way_node in self._net.rural_nodes("primary", "secondary")
            if 1_000 < math.dist(self._net.points[way_node.node], middle) < 3_000
        ]
        for spot in self._rng.sample(near, len(near)):
            nodes = self._net.try_lane(self._rng, spot, 180.0)
            if nodes:
                self._net.add_way(nodes, "service", "Dairy Way", MAXSPEED_KMH["service"])
                return nodes[-1]
        raise DistrictImpossible(f"seed {self._seed} leaves no room for the dairy; any other seed will do")

    def _lay_lane(self, reach_m: tuple[float, float]) -> int:
        """A farm lane off a rural road; gives the node at its end, at least 250 m from any other farm."""
        spots = self._net.rural_nodes("unclassified", "tertiary", "secondary")
        for _ in range(400):
            nodes = self._net.try_lane(self._rng, self._rng.choice(spots), self._rng.uniform(*reach_m), apart_m=250.0)
            if nodes:
                highway = self._rng.choice(("service", "service", "unclassified"))
                surface = self._rng.choice(("asphalt", "compacted", "gravel"))
                self._net.add_way(nodes, highway, "", MAXSPEED_KMH["service"], surface=surface)
                return nodes[-1]
        raise DistrictImpossible(
            f"seed {self._seed} leaves no room for {self._farm_count} farms; ask for fewer or take another seed"
        )

    def _lay_track(self) -> None:
        spots = self._net.rural_nodes("unclassified", "tertiary")
        nodes = self._net.try_lane(self._rng, self._rng.choice(spots), self._rng.uniform(300.0, 800.0))
        if nodes:
            self._net.add_way(nodes, "track", "", None, surface="ground")

    def _finish(self, villages: Mapping[int, str], depot: int, ends: Sequence[int]) -> District:
        nodes = tuple(_degrees(at) for at in self._net.points)

        def place(kind: PlaceKind, node: int, name: str, number: int) -> Place:
            lat, lon = nodes[node]
            return Place(f"{kind}-{number:03d}", kind, name, lat, lon, node + 1)

        lats = [lat for lat, _ in nodes]
        lons = [lon for _, lon in nodes]
        return District(
            seed=self._seed,
            name=NAME,
            bounds=(min(lats), min(lons), max(lats), max(lons)),
            depot=place("dairy", depot, "Clovervale Dairy", 1),
            farms=tuple(place("farm", node, next(self._farm_names), i) for i, node in enumerate(ends, 1)),
            villages=tuple(
                place("village" if i > 1 else "town", node, name, i)
                for i, (node, name) in enumerate(villages.items(), 1)
            ),
            nodes=nodes,
            roads=tuple(
                Road(i, tuple(n + 1 for n in w.nodes), w.highway, w.name, w.maxspeed_kmh, w.is_oneway, w.surface)
                for i, w in enumerate(self._net.ways, 1)
            ),
        )


def write_osm(district: District, path: Path) -> Path:
    """Write the district as OSM XML 0.6 (nodes before ways, ids from 1, bounds); gives the path back."""
    places = {place.node: place for place in (district.depot, *district.farms, *district.villages)}
    south, west, north, east = district.bounds
    lines = [
        "<?xml version='1.0' encoding='UTF-8'?>",
        f"<!-- {district.name}, seed {district.seed}: a made-up place; no part of it shows the real world. -->",
        '<osm version="0.6" generator="milkrun">',
        f'  <bounds minlat="{south:.7f}" minlon="{west:.7f}" maxlat="{north:.7f}" maxlon="{east:.7f}"/>',
    ]
    stamp = 'version="1" timestamp="2020-01-01T00:00:00Z" visible="true"'
    for number, (lat, lon) in enumerate(district.nodes, 1):
        head = f'  <node id="{number}" {stamp} lat="{lat:.7f}" lon="{lon:.7f}"'
        place = places.get(number)
        if place is None:
            lines.append(f"{head}/>")
        else:
            lines += [f"{head}>", *_tags({"name": place.name, "ref": place.id, **PLACE_TAGS[place.kind]}), "  </node>"]
    for road in district.roads:
        lines.append(f'  <way id="{road.id}" {stamp}>')
        lines += [f'    <nd ref="{node}"/>' for node in road.nodes]
        lines += [*_tags(_road_tags(road)), "  </way>"]
    lines.append("</osm>\n")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_geojson(district: District, path: Path) -> Path:
    """Write roads (lines) and places (points) as one GeoJSON FeatureCollection for a map; gives the path back."""
    features: list[dict[str, object]] = []
    for road in district.roads:
        line = [[lon, lat] for lat, lon in map(district.position, road.nodes)]
        features.append(_feature("LineString", line, _road_tags(road)))
    for place in (district.depot, *district.farms, *district.villages):
        tags = {"id": place.id, "kind": place.kind, "name": place.name}
        features.append(_feature("Point", [place.lon, place.lat], tags))
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")
    return path


def _feature(kind: str, coordinates: object, properties: Mapping[str, str]) -> dict[str, object]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def _road_tags(road: Road) -> dict[str, str]:
    tags = {"highway": road.highway, "surface": road.surface}
    if road.name:
        tags["name"] = road.name
    if road.maxspeed_kmh is not None:
        tags["maxspeed"] = str(road.maxspeed_kmh)
    if road.is_oneway:
        tags["oneway"] = "yes"
    return tags


def _tags(tags: Mapping[str, str]) -> Iterator[str]:
    return (f"    <tag k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in tags.items())


def _shuffled_names(rng: Random, endings: Sequence[str], form: str) -> Iterator[str]:
    """Every stem with every ending in random order, then the same again with a number, so that no two are equal."""
    names = [form.format(stem, ending) for stem, ending in itertools.product(_STEMS, endings)]
    rng.shuffle(names)
    again = (f"{name} {series}" for series in itertools.count(2) for name in names)
    return itertools.chain(names, again)


def _angle(middle: XY, at: XY) -> float:
    return math.atan2(at[1] - middle[1], at[0] - middle[0])


def _arc(middle: XY, start: XY, end: XY, turn: float) -> list[XY]:
    """A line around `middle` from start to end, turning left by `turn` radians, its radius changing evenly."""
    first, steps = _angle(middle, start), max(3, round(turn / 0.3))
    near, far = math.dist(middle, start), math.dist(middle, end)
    inner = [
        (middle[0] + radius * math.cos(first + turn * part), middle[1] + radius * math.sin(first + turn * part))
        for part in (i / steps for i in range(1, steps))
        for radius in (near + (far - near) * part,)
    ]
    return [start, *inner, end]


def _degrees(at: XY) -> tuple[float, float]:
    """Local metres to (lat, lon), rounded to what the file holds, so that file and memory never differ."""
    lat = ORIGIN_LAT + at[1] / METRES_PER_DEGREE
    lon = ORIGIN_LON + at[0] / (METRES_PER_DEGREE * math.cos(math.radians(ORIGIN_LAT)))
    return round(lat, 7), round(lon, 7)
