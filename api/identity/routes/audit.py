"""The audit log: who changed what."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.access import Scope
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.times import Moment, Time
from api.identity import model
from api.identity.routes.given import Identity, Text
from api.identity.store import AuditFilter, AuditRow

router = APIRouter(tags=["audit"])


class AuditBody(BaseModel):
    """One change."""

    id: int
    at: Time
    actor_kind: str = Field(description="user, client, key, or cli: somebody at the machine")
    actor_id: str
    actor_name: str
    action: str = Field(description="What was done, such as user.changed")
    target: str = Field(description="To what: an account's id, a device's name")
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None
    ip: str | None


@router.get("/v1/audit", summary="Who changed what")
async def list_audit(
    caller: Annotated[Caller, needs(Scope.AUDIT_READ)],
    identity: Identity,
    actor: Annotated[Text | None, Query(description="Only by this user, client or key")] = None,
    action: Annotated[Text | None, Query(description="Only this, such as user.changed")] = None,
    target: Annotated[Text | None, Query(description="Only to this account or device")] = None,
    since: Annotated[Moment | None, Query(alias="from", description="From this time on")] = None,
    until: Annotated[Moment | None, Query(alias="to", description="Before this time")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[AuditBody]:
    """Newest first. An operator's own deeds in a tenant are in the tenant's log."""
    (below,) = decode(cursor, int) or (None,)
    wanted = AuditFilter(actor=actor, action=action, target=target, since=since, until=until)
    rows = await identity.accounts.audit_log(model.owner_of(caller.tenant), wanted, below=below, limit=limit + 1)
    return page(rows, limit, key=lambda row: (row.id,), item=_body)


def _body(row: AuditRow) -> AuditBody:
    return AuditBody(**{name: getattr(row, name) for name in AuditBody.model_fields})
