"""Dead letters: what was refused on its way in, and once more through the pipeline when the cause is mended.

A tenant sees its own. An operator who names no tenant sees all, also those whose topic named no tenant of ours.
"""

import base64
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StringConstraints

from api.access import Scope
from api.fleet.given import DeviceName, Form, auditor, refusal
from api.http.numbers import WHOLE
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Moment, Time, iso
from api.services import Given, Services
from core.db import Tx
from core.dead_letters import UNATTRIBUTED
from core.tenancy import Thing
from ingest.errors import NotReplayable
from ingest.history import letters
from ingest.history.letters import Envelope, Letter, Outcome, Wanted

router = APIRouter(tags=["dead letters"], route_class=StrictRoute)

MOST_AT_ONCE = 1000
_A_BATCH = 100

Reader = Annotated[Caller, needs(Scope.DEAD_LETTERS_READ)]
Writer = Annotated[Caller, needs(Scope.DEAD_LETTERS_WRITE)]
LetterId = Annotated[int, Path(ge=1, lt=2**63)]


class LetterBody(BaseModel):
    """A refused message."""

    id: int
    tenant: str | None = Field(description="null: its topic named no tenant there is; operators alone see such")
    thing: str | None = Field(examples=["acme:truck-17"])
    received_at: Time
    source: str = Field(description="`mqtt`, or the stream whose handler gave up")
    topic: str
    reason: str = Field(description="Stable code", examples=["out_of_range"])
    detail: str = Field(description="What was wrong, and what is allowed")
    size: int = Field(description="Bytes of its payload")
    replayed_at: Time | None


class WholeLetterBody(LetterBody):
    """With its payload."""

    payload_base64: str
    text: str | None = Field(description="The payload where it is UTF-8, else null")


class Refused(BaseModel):
    """A sample that was refused again."""

    reason: str
    detail: str


class OutcomeBody(BaseModel):
    """What became of a replayed letter, in samples or events."""

    id: int
    settled: bool = Field(description="Nothing of it was refused again")
    stored: int = Field(description="Newly stored")
    present: int = Field(description="Stored before")
    refused: list[Refused]


class Replay(Form):
    """Letters of a reason that were not replayed yet, the oldest first."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(examples=["unknown_device"])
    limit: Annotated[int, Field(ge=1, le=MOST_AT_ONCE), WHOLE] = 100


class Replayed(BaseModel):
    """What became of each."""

    items: list[OutcomeBody]


@router.get("/v1/dead-letters", summary="List dead letters")
async def list_letters(
    caller: Reader,
    services: Given,
    reason: Annotated[str | None, Query(max_length=64, description="Only these")] = None,
    device: Annotated[DeviceName | None, Query(description="Only this device's")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="Received from then on")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Received before then")] = None,
    replayed: Annotated[bool | None, Query(description="Only replayed ones, or only those that were not")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[LetterBody]:
    """Newest first, without payloads. Kept for 30 days."""
    if since is not None and until is not None and since >= until:
        raise refusal("from", f"{iso(since)} is not before `to`, which is {iso(until)}")
    thing = None if device is None else str(Thing(caller.tenant, caller.device(device).device))
    wanted = Wanted(reason=reason, thing=thing, since=since, until=until, replayed=replayed)
    after: tuple[datetime, int] | None = decode(cursor, datetime, int)
    async with _door(services, caller) as tx:
        found = await letters.page(tx, wanted, after=after, limit=limit + 1)
    return page(found, limit, key=lambda letter: (letter.received_at, letter.id), item=_envelope)


@router.get("/v1/dead-letters/{letter_id:int}", summary="Show a dead letter")
async def show_letter(letter_id: LetterId, caller: Reader, services: Given) -> WholeLetterBody:
    async with _door(services, caller) as tx:
        [letter] = await letters.load(tx, [letter_id])
    return _whole(letter)


@router.post("/v1/dead-letters/{letter_id:int}/replay", summary="Replay a dead letter")
async def replay_letter(letter_id: LetterId, caller: Writer, services: Given) -> OutcomeBody:
    """What is stored stays stored once; a letter refused again stays as it is."""
    [outcome] = await _replay(services, caller, [letter_id])
    return outcome


@router.post("/v1/dead-letters/replay", summary="Replay dead letters of a reason")
async def replay_letters(form: Replay, caller: Writer, services: Given) -> Replayed:
    """Repeat it until it answers with none: a letter refused again is tried again."""
    async with _door(services, caller) as tx:
        ids = await letters.open_ids(tx, reason=form.reason, limit=form.limit)
    return Replayed(items=await _replay(services, caller, ids))


async def _replay(services: Services, caller: Caller, ids: Sequence[int]) -> list[OutcomeBody]:
    outcomes: list[OutcomeBody] = []
    for some in itertools.batched(ids, _A_BATCH):
        async with _door(services, caller) as tx:
            batch = await letters.load(tx, some)
        for letter in batch:
            _require_own(caller, letter)
        done = await letters.replay(
            batch,
            settings=services.settings,
            ingest=services.ingest,
            operator=services.operator,
            clock=services.clock,
        )
        outcomes += map(_outcome, done)
        async with _door(services, caller) as tx:
            facts = {"ids": list(some), "settled": sum(each.is_settled for each in done)}
            await auditor(services).audit(tx, caller, "dead_letters.replayed", str(some[0]), after=facts)
    return outcomes


def _require_own(caller: Caller, letter: Letter) -> None:
    """What a letter brings goes to the thing its topic names, which must be the caller's."""
    if caller.chosen is not None and not (letter.thing or "").startswith(f"{caller.chosen}:"):
        raise NotReplayable(f"dead letter {letter.id} names no device of tenant {caller.chosen}")


@asynccontextmanager
async def _door(services: Services, caller: Caller) -> AsyncIterator[Tx]:
    """The tenant's; for an operator who named none, that of all."""
    if caller.chosen is not None or caller.principal.tenant is not None:
        async with services.app.tenant(caller.tenant) as tx:
            yield tx
    else:
        async with services.operator.unscoped(reason="an operator looks after the dead letters of all tenants") as tx:
            yield tx


def _envelope(letter: Envelope) -> LetterBody:
    return LetterBody(**_facts(letter), size=letter.size)


def _whole(letter: Letter) -> WholeLetterBody:
    try:
        text = letter.payload.decode()
    except UnicodeDecodeError:
        text = None
    payload = base64.b64encode(letter.payload).decode()
    return WholeLetterBody(**_facts(letter), size=len(letter.payload), payload_base64=payload, text=text)


def _facts(letter: Letter | Envelope) -> dict[str, Any]:
    return {
        "id": letter.id,
        "tenant": None if letter.tenant == UNATTRIBUTED else letter.tenant,
        "thing": letter.thing,
        "received_at": letter.received_at,
        "source": letter.source,
        "topic": letter.topic,
        "reason": letter.reason,
        "detail": letter.detail,
        "replayed_at": letter.replayed_at,
    }


def _outcome(outcome: Outcome) -> OutcomeBody:
    return OutcomeBody(
        id=outcome.letter.id,
        settled=outcome.is_settled,
        stored=outcome.stored,
        present=outcome.present,
        refused=[Refused(reason=str(each.reason), detail=each.detail) for each in outcome.refused],
    )
