"""Whether this process lives (`/healthz`) and whether it can do its work (`/readyz`)."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from api.http import problems
from api.http.security import PUBLIC
from api.services import Given
from core.bus import BusUnavailable
from core.db import Database, DatabaseUnavailable
from core.errors import Unavailable

router = APIRouter(tags=["health"], dependencies=[PUBLIC])


class NotReady(Unavailable):
    """A part this process needs does not answer."""

    code = "not_ready"


class Health(BaseModel):
    """The answer of a process that is well."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", summary="Does the process live")
async def healthz() -> Health:
    """Answered by the process alone; it says nothing of the database or Redis."""
    return Health()


@router.get("/readyz", summary="Can it do its work", responses=problems.responses(503))
async def readyz(services: Given) -> Health:
    """Asks the database and Redis; `not_ready` names what does not answer."""
    missing = []
    if not await _answers(services.app):
        missing.append("database")
    try:
        await services.bus.ping()
    except BusUnavailable:
        missing.append("redis")
    if missing:
        raise NotReady(f"no answer from: {', '.join(missing)}")
    return Health()


async def _answers(database: Database) -> bool:
    try:
        async with database.unscoped(reason="asks for nothing but an answer"):
            return True
    except DatabaseUnavailable:
        return False
