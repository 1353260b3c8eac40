"""What is known of a device between its messages, and the judgement of a sample against it. Pure: no I/O, no clock.

The ledger holds which sequence numbers of which boot are durable, as ranges. It makes a redelivery recognisable, tells
a reused number from a repeated one, and says what the device may forget.
"""

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import msgspec

from core.telemetry import Position, Sample
from ingest.reasons import Reason, Rejection

MAX_BOOTS = 8
MAX_RANGES = 64
AGREEING_FIXES = 3
"""So many implausible fixes that agree with each other mean that the truck is there: it was towed or ferried."""

_EARTH_RADIUS_M = 6_371_008.8
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[int]]).decode


@dataclass(slots=True)
class DeviceState:
    """A device's state. `version` counts commits; `ts` (epoch ms), `pos`, `boot`, `seq` are of the last position.

    `boots` maps a boot to its durable seqs as a flat list of inclusive ranges, [1, 40, 42, 50]; the last boot is last.
    """

    version: int = 0
    last_seen_ms: int = 0
    ts: int | None = None
    boot: str = ""
    seq: int = -1
    pos: Position | None = None
    boots: dict[str, list[int]] = field(default_factory=dict)
    abandoned_gaps: int = 0
    doubtful: Position | None = None
    doubtful_ts: int = 0
    doubtful_count: int = 0
    marked: list[str] = field(default_factory=list)
    """Boots with news since the last acknowledgement, the latest last."""
    aside: list[tuple[str, int, int]] = field(default_factory=list)
    """Durable runs (boot, first, last) beside the oldest that the device must be told of once: those the ledger had no
    more room for, and those it sends again.
    """

    def has(self, boot: str, seq: int) -> bool:
        """Whether this seq of this boot is durable already."""
        ranges = self.boots.get(boot)
        if not ranges:
            return False
        if seq > ranges[-1]:
            return False
        # An odd insertion point lies inside a range; an even one may sit on an end, which is inclusive.
        at = bisect_right(ranges, seq)
        return at % 2 == 1 or (at > 0 and ranges[at - 1] == seq)

    def mark(self, boot: str, seq: int) -> None:
        """Note that this seq is durable (or kept as a dead letter, which is as good)."""
        if not self.marked or self.marked[-1] != boot:
            self.marked.append(boot)
        ranges = self.boots.get(boot)
        if ranges is None:
            self._open_boot(boot, seq)
        elif seq == ranges[-1] + 1:
            ranges[-1] = seq
        elif seq > ranges[-1]:
            ranges += (seq, seq)
            self._bound(boot, ranges)
        elif self.has(boot, seq):
            first = bisect_left(ranges, seq) & ~1
            if first and self.aside[-1:] != [(boot, ranges[first], ranges[first + 1])]:
                self.aside.append((boot, ranges[first], ranges[first + 1]))
        else:
            _insert(ranges, seq)
            self._bound(boot, ranges)

    def take_news(self) -> list[tuple[str, int, int]]:
        """(boot, first, last) for each boot marked since the last call: its oldest unbroken run of durable seqs.

        Runs set aside since then come first.
        """
        news = [(boot, self.boots[boot][0], self.boots[boot][1]) for boot in set(self.marked) if boot in self.boots]
        news[:0] = self.aside
        self.marked.clear()
        self.aside.clear()
        return news

    def ledger(self) -> bytes:
        return _encode(self.boots)

    def _open_boot(self, boot: str, seq: int) -> None:
        if len(self.boots) >= MAX_BOOTS:
            del self.boots[next(iter(self.boots))]
        self.boots[boot] = [seq, seq]

    def _bound(self, boot: str, ranges: list[int]) -> None:
        # A device that lost samples leaves gaps for ever. The oldest run is forgotten; closing the gap behind it
        # instead would confirm samples that never came. Should one of the run come again, the store's key tells.
        while len(ranges) > 2 * MAX_RANGES:
            self.aside.append((boot, ranges[0], ranges[1]))
            del ranges[:2]
            self.abandoned_gaps += 1


def load_ledger(data: bytes) -> dict[str, list[int]]:
    return _decode(data)


def _insert(ranges: list[int], seq: int) -> None:
    at = bisect_right(ranges, seq)
    ranges[at:at] = (seq, seq)
    if at + 2 < len(ranges) and ranges[at + 2] == seq + 1:
        del ranges[at + 1 : at + 3]
    if at > 0 and ranges[at - 1] == seq - 1:
        del ranges[at - 1 : at + 1]


def judge(state: DeviceState, sample: Sample, max_speed_mps: float) -> Rejection | None:
    """Whether a fresh sample is believed, given the last one. Late samples are not compared: order cannot be told.

    A fix that would need an impossible speed is refused, until AGREEING_FIXES such fixes in a row agree.
    """
    pos, last = sample.pos, state.pos
    if pos is None or last is None or state.ts is None or sample.ts <= state.ts:
        return None
    # An upper bound that needs no trigonometry clears nearly every fix: a degree is at most 111.7 km either way.
    reach_m = (abs(pos.lat - last.lat) + abs(pos.lon - last.lon)) * 111_700.0
    if reach_m <= max_speed_mps * (sample.ts - state.ts) / 1000:
        state.doubtful_count = 0
        return None
    speed = implied_speed_mps(last, state.ts, pos, sample.ts)
    if speed <= max_speed_mps:
        state.doubtful_count = 0
        return None
    doubtful = state.doubtful
    if doubtful is not None and sample.ts > state.doubtful_ts:
        agrees = implied_speed_mps(doubtful, state.doubtful_ts, pos, sample.ts) <= max_speed_mps
        state.doubtful_count = state.doubtful_count + 1 if agrees else 1
    else:
        state.doubtful_count = 1
    state.doubtful, state.doubtful_ts = pos, sample.ts
    if state.doubtful_count >= AGREEING_FIXES:
        state.doubtful_count = 0
        return None
    return Rejection(
        Reason.IMPLIED_SPEED,
        f"{speed:.0f} m/s from the last position {(sample.ts - state.ts) / 1000:.1f} s before; "
        f"at most {max_speed_mps:.0f} m/s is believed",
    )


def accept(state: DeviceState, sample: Sample) -> bool:
    """Take a sample into the state; True when it is the newest position."""
    if sample.seq is not None:
        state.mark(sample.boot, sample.seq)
    if sample.pos is None:
        return False
    seq = -1 if sample.seq is None else sample.seq
    if state.ts is not None and (sample.ts, seq) <= (state.ts, state.seq):
        return False
    state.ts, state.boot, state.seq, state.pos = sample.ts, sample.boot, seq, sample.pos
    return True


def implied_speed_mps(a: Position, a_ms: int, b: Position, b_ms: int) -> float:
    """Speed needed from a to b, less what their stated accuracies (at least 15 m each) may explain."""
    slack = max(15.0, a.acc or 0.0) + max(15.0, b.acc or 0.0)
    return max(0.0, distance_m(a.lat, a.lon, b.lat, b.lon) - slack) / max(0.2, (b_ms - a_ms) / 1000)


def distance_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in metres; equirectangular below some 100 km, right there to a few parts in 10,000."""
    dlat = lat2 - lat1
    dlon = (lon2 - lon1 + 540.0) % 360.0 - 180.0
    if -1.0 < dlat < 1.0 and -1.0 < dlon < 1.0:
        x = dlon * math.cos(math.radians((lat1 + lat2) / 2))
        return math.radians(math.hypot(x, dlat)) * _EARTH_RADIUS_M
    p1, p2 = math.radians(lat1), math.radians(lat2)
    h = math.sin((p2 - p1) / 2) ** 2 + math.cos(p1) * math.cos(p2) * math.sin(math.radians(dlon) / 2) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(h)))
