"""One's own inbox and preferences. What a user does with these is his own affair, so `alerts:read` is enough."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query

from api.access import Scope
from api.http import problems
from api.http.etags import Expected, Tagged
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.notices import forms
from api.notices.forms import NoticeBody, ReadAll, RecipientBody, Unread, WishesForm
from api.notices.given import Id, me, my_inbox, witness
from api.services import Given
from notify.errors import NoticeNotFound

router = APIRouter(tags=["notices"], route_class=StrictRoute)

Mine = Annotated[Caller, needs(Scope.ALERTS_READ)]


@router.get("/v1/notices", summary="List one's notices")
async def list_notices(
    caller: Mine,
    services: Given,
    unread: Annotated[bool, Query(description="Only those not read yet")] = False,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[NoticeBody]:
    """Newest first. A program has none."""
    before: tuple[datetime, str] | None = decode(cursor, datetime, str)
    mine = me(caller)
    if mine is None:
        return Page(items=[], next=None)
    found = await services.notices.inbox(caller.tenant, mine, is_unread=unread, before=before, limit=limit + 1)
    return page(found, limit, key=lambda notice: (notice.created_at, notice.id), item=forms.notice)


@router.get("/v1/notices/unread", summary="Count one's unread notices")
async def count_unread(caller: Mine, services: Given) -> Unread:
    mine = me(caller)
    return Unread(unread=0 if mine is None else await services.notices.unread(caller.tenant, mine))


@router.post("/v1/notices/{notice}/read", summary="Mark a notice as read")
async def read_notice(notice: Id, caller: Mine, services: Given) -> NoticeBody:
    """May be repeated; when it was read first stays."""
    mine = me(caller)
    if mine is None:
        raise NoticeNotFound(f"there is no notice {notice[:80]!r} in this inbox")
    return forms.notice(await services.notices.mark_read(caller.tenant, mine, notice))


@router.post("/v1/notices/read", summary="Mark all one's notices as read", responses=problems.responses(409))
async def read_notices(form: ReadAll, caller: Mine, services: Given) -> Unread:
    """Answers with how many came since."""
    mine = my_inbox(caller)
    await services.notices.mark_all_read(caller.tenant, mine, until=form.until)
    return Unread(unread=await services.notices.unread(caller.tenant, mine))


@router.get("/v1/notices/preferences", summary="Show one's preferences", responses=problems.responses(409))
async def show_preferences(caller: Mine, services: Given, tagged: Tagged) -> RecipientBody:
    """Quiet hours, the day's cap, language and channels. 409 `no_inbox` for a program."""
    found = await services.notices.recipient(caller.tenant, my_inbox(caller))
    tagged(found.version)
    return forms.recipient(found)


@router.put("/v1/notices/preferences", summary="Set one's preferences", responses=problems.responses(409))
async def set_preferences(
    form: WishesForm, caller: Mine, services: Given, expected: Expected, tagged: Tagged
) -> RecipientBody:
    """All of them; what is left out becomes the default."""
    after = await services.notices.set_wishes(
        caller.tenant, my_inbox(caller), form.wishes(), expected=expected, witness=witness(services, caller)
    )
    tagged(after.version)
    return forms.recipient(after)
