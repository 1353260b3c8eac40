"""A batch between pipeline and store: each sample is judged against what is known of its device, and becomes rows.

Two passes, because two questions need the database: was this sequence number used for this very sample (a repeat) or
for another (a reuse), and was a late sample stored before under another name (a replay)?
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from prometheus_client import Counter

from core import topics
from core.dead_letters import UNATTRIBUTED, DeadLetter
from core.events import Received
from core.settings import IngestSettings
from core.telemetry import DeviceEvent, Sample
from ingest import model, rows
from ingest.gate import ACTIVE, Known
from ingest.pipeline import Inflight, as_sample, part
from ingest.reasons import IGNORED, Reason, Rejection
from ingest.store import Stored, Writes
from ingest.validate import MAX_SEQ

SAMPLES = Counter("milkrun_ingest_samples_total", "Samples by what became of them", ["result"])
REJECTED = Counter("milkrun_ingest_rejected_total", "Messages or samples refused", ["reason"])
SHED = Counter("milkrun_ingest_shed_total", "Refused messages too many to keep as dead letters", ["reason"])
GAPS = Counter("milkrun_ingest_seq_gaps_abandoned_total", "Gaps in a device's seq given up to bound its ledger")

type _Place = tuple[float | None, float | None]

_NOWHERE: _Place = (None, None)
_MINUTE_MS = 60_000
_MAX_SEQLESS = 2**62


@dataclass(slots=True)
class Open:
    """A sample that waits for the store's answer."""

    flight: Inflight
    known: Known
    sample: Sample
    is_reuse_suspect: bool


@dataclass(slots=True)
class Batch:
    """The outcome of judging: what to write, whom to tell, what to count once the commit is through.

    `is_in_doubt`: an earlier commit of the same messages may have happened, its answer being lost.
    """

    settings: IngestSettings
    is_in_doubt: bool = False
    writes: Writes = field(default_factory=Writes)
    received: dict[int, list[Received]] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)
    repeatable: list[DeadLetter] = field(default_factory=list)
    duplicates: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)
    shed: dict[Reason, int] = field(default_factory=dict)

    def judge(self, flights: Sequence[Inflight]) -> None:
        """First pass, in order of arrival; every known sender's state is loaded."""
        for flight in flights:
            known = flight.known
            if flight.replay is not None:
                flight.replay.begin()
            for verdict in flight.rejected:
                self._refuse(flight, verdict, may_repeat=flight.message.is_redelivery)
            if known is None:
                continue
            if known.status != ACTIVE and not flight.samples and flight.event is None:
                continue  # what came while the device was still active is taken, whatever it has become since
            state = known.state
            assert state is not None
            state.last_seen_ms = max(state.last_seen_ms, flight.received_ms)
            self.writes.touched[known.name] = known
            if flight.rejected and not flight.unkept:
                _mark_refused(flight, state)
            if flight.event is not None:
                self._judge_one(flight, known, as_sample(flight.event))
            for sample in flight.samples:
                self._judge_one(flight, known, sample)

    def settle(self, answers: Sequence[Sequence[Stored]]) -> None:
        """Second pass: `answers` belong to `open`, one each."""
        here = self._accepted() if self.open else {}
        for waiting, found in zip(self.open, answers, strict=True):
            sample, known = waiting.sample, waiting.known
            boot, seq = sample.boot, seq_of(sample)
            name = (known.name, boot, seq, sample.ts)
            twins = [(s.lat, s.lon) for s in found if (s.boot, s.seq) == (boot, seq)]
            if name in here:
                twins.append(here[name])
            if (twins and not _is_elsewhere(sample, twins)) or _is_bare(waiting):
                self.duplicates += 1
                if waiting.flight.replay is not None:
                    waiting.flight.replay.present += 1
                if sample.seq is not None:
                    assert known.state is not None
                    known.state.mark(boot, seq)
            elif waiting.is_reuse_suspect or twins:
                detail = f"seq {seq} of boot {boot!r} was used for another sample; each sample needs its own"
                self._quarantine(waiting, Rejection(Reason.SEQ_REUSED, detail))
            elif sample.pos is not None and any((s.lat, s.lon) == (sample.pos.lat, sample.pos.lon) for s in found):
                detail = "this position at this instant is stored under another boot or seq: a recording played again"
                self._quarantine(waiting, Rejection(Reason.IDENTICAL_REPLAY, detail))
            else:
                self._accept(waiting.flight, known, sample)
                here[name] = _place(sample)

    def add_repeatable(self, kept: set[bytes]) -> None:
        """Write each repeatable letter that is neither `kept` (digests) already nor in this batch twice."""
        seen = kept | {letter.digest for letter in self.writes.letters}
        for letter in self.repeatable:
            if letter.digest not in seen:
                seen.add(letter.digest)
                self.writes.letters.append(letter)

    def forget_states(self) -> None:
        """The transaction failed: what was judged in memory did not happen."""
        for known in self.writes.touched.values():
            known.state = None

    def _judge_one(self, flight: Inflight, known: Known, sample: Sample) -> None:
        state = known.state
        assert state is not None
        if sample.seq is not None and state.has(sample.boot, sample.seq):
            if flight.replay is not None and flight.replay.reason != Reason.SEQ_REUSED:
                self._judge_again(flight, known, sample)
            else:
                self.open.append(Open(flight, known, sample, is_reuse_suspect=True))
        elif sample.pos is not None and state.ts is not None and sample.ts <= state.ts:
            self.open.append(Open(flight, known, sample, is_reuse_suspect=False))
        else:
            verdict = model.judge(state, sample, self.settings.max_speed_mps)
            if verdict is None:
                self._accept(flight, known, sample)
            else:
                self._quarantine(Open(flight, known, sample, is_reuse_suspect=False), verdict)

    def _judge_again(self, flight: Inflight, known: Known, sample: Sample) -> None:
        """A refused sample from its dead letter: its seq was marked by the refusal and speaks not against it."""
        state = known.state
        assert state is not None
        verdict = model.judge(state, sample, self.settings.max_speed_mps)
        waiting = Open(flight, known, sample, is_reuse_suspect=False)
        if verdict is None:
            self.open.append(waiting)
        else:
            self._quarantine(waiting, verdict)

    def _accept(self, flight: Inflight, known: Known, sample: Sample) -> None:
        state, writes = known.state, self.writes
        assert state is not None
        is_newest = model.accept(state, sample)
        if flight.replay is not None:
            flight.replay.stored += 1
            is_newest = False  # history, whatever its time: nothing downstream may take it for live
        seq = seq_of(sample if flight.event is None else flight.event)
        if flight.event is not None:
            writes.events.append((known, flight.event, seq, flight.received_ms))
            return
        received_us = rows.timestamp_us(flight.received_ms)
        if sample.pos is not None:
            row = rows.position(known.ident, sample.boot, seq, sample.ts, received_us, sample.pos)
            (writes.positions.unsure if sample.seq is None else writes.positions.sure).append(row)
        if sample.m:
            several = rows.metrics(known.ident, sample.boot, seq, sample.ts, received_us, sample.m)
            (writes.metrics.unsure if sample.seq is None else writes.metrics.sure).extend(several)
        writes.minutes.add(sample.ts - sample.ts % _MINUTE_MS)
        is_live = is_newest and flight.received_ms - sample.ts <= self.settings.live_within_s * 1000
        received = self.received.get(known.partition)
        if received is None:
            received = self.received[known.partition] = []
        received.append(Received(known.name, sample, is_live))

    def _accepted(self) -> "dict[tuple[str, str, int, int], _Place]":
        """Thing, boot, seq and ts of what this batch takes, and where: the same sample twice in a batch is a repeat."""
        samples = [r for received in self.received.values() for r in received]
        places = {(r.thing, r.sample.boot, seq_of(r.sample), r.sample.ts): _place(r.sample) for r in samples}
        return places | {(known.name, e.boot, seq, e.ts): _NOWHERE for known, e, seq, _ in self.writes.events}

    def _quarantine(self, waiting: Open, verdict: Rejection) -> None:
        flight, sample = waiting.flight, waiting.sample
        if sample.seq is not None:
            assert waiting.known.state is not None
            waiting.known.state.mark(sample.boot, sample.seq)
        is_whole = flight.event is not None or not (flight.is_part or len(flight.samples) > 1 or flight.rejected)
        # A refused sample sent again meets its own seq in the ledger; the letter kept of it tells that.
        self._refuse(flight, verdict if is_whole else part(verdict, sample), may_repeat=True)

    def _refuse(self, flight: Inflight, verdict: Rejection, *, may_repeat: bool) -> None:
        reason = verdict.reason
        if flight.replay is not None:
            flight.replay.refused.append(verdict)  # its letter is there already
            return
        counts = self.shed if flight.unkept else self.rejected
        counts[reason] = counts.get(reason, 0) + 1
        if flight.unkept or reason in IGNORED:
            return
        known = flight.known
        letter = DeadLetter(
            tenant=known.thing.tenant if known is not None and known.tenant is not None else UNATTRIBUTED,
            received_at=datetime.fromtimestamp(flight.received_ms / 1000, UTC).isoformat(),
            source="mqtt",
            topic=_topic(flight, verdict),
            thing=flight.route.name if flight.route is not None else None,
            reason=reason.value,
            detail=verdict.detail,
            payload=flight.message.payload if verdict.payload is None else verdict.payload,
        )
        (self.repeatable if may_repeat or self.is_in_doubt else self.writes.letters).append(letter)

    def count(self, *, positions: int, metrics: int) -> None:
        """Move the outcome into the metrics, after the commit; `positions` and `metrics` are rows that were new."""
        offered = sum(len(batch) for batch in self.received.values())
        repeated = len(self.writes.positions) - positions
        SAMPLES.labels("stored").inc(offered - repeated)
        SAMPLES.labels("duplicate").inc(self.duplicates + repeated)
        SAMPLES.labels("metric_row").inc(metrics)
        for reason, count in self.rejected.items():
            REJECTED.labels(reason.value).inc(count)
        for reason, count in self.shed.items():
            SHED.labels(reason.value).inc(count)
        for known in self.writes.touched.values():
            if known.state is not None and known.state.abandoned_gaps:
                GAPS.inc(known.state.abandoned_gaps)
                known.state.abandoned_gaps = 0


def _mark_refused(flight: Inflight, state: model.DeviceState) -> None:
    """A refused sample that is kept as a dead letter is as durable as a stored one: the device may forget it."""
    named = [(v.boot, v.seq) for v in flight.rejected if v.seq is not None]
    for boot, seq in (*named, *flight.refused):
        if 0 <= seq <= MAX_SEQ:
            state.mark(boot, seq)


def _topic(flight: Inflight, verdict: Rejection) -> str:
    """Where the letter would be sent again: a part of a message is kept as native JSON, whatever it came as."""
    if verdict.payload is not None and flight.route is not None:
        return topics.telemetry(flight.route.inbound.thing)
    return flight.message.topic.decode("utf-8", "replace")


def _is_bare(waiting: Open) -> bool:
    """A sign of life under a seq that is taken: it carries nothing that could be another content."""
    sample = waiting.sample
    return waiting.is_reuse_suspect and waiting.flight.event is None and sample.pos is None and not sample.m


def _place(sample: Sample) -> _Place:
    return _NOWHERE if sample.pos is None else (sample.pos.lat, sample.pos.lon)


def _is_elsewhere(sample: Sample, twins: Sequence[_Place]) -> bool:
    """Whether the sample has a place, and those of its name have another."""
    places = [twin for twin in twins if twin[0] is not None]
    return sample.pos is not None and bool(places) and _place(sample) not in places


def seq_of(sample: Sample | DeviceEvent) -> int:
    """The seq stored of a sample or event: the device's own, or a negative digest of its content where it has none."""
    if sample.seq is not None:
        return sample.seq
    digest = hashlib.blake2b(msgspec.json.encode(sample), digest_size=8).digest()
    return -1 - int.from_bytes(digest) % _MAX_SEQLESS
