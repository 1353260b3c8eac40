"""Who is told of which site, on which phones. One's own things need `alerts:read`, those of others `alerts:write`."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access import Scope
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.notices import forms
from api.notices.forms import (
    NewPushToken,
    NewSubscription,
    PushTokenBody,
    RecipientBody,
    SubscriptionBody,
    SubscriptionChange,
    WishesForm,
)
from api.notices.given import Id, Ref, may_look_after_others, me, recipient_of, witness
from api.services import Given

router = APIRouter(tags=["subscriptions"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.ALERTS_READ)]
Writer = Annotated[Caller, needs(Scope.ALERTS_WRITE)]
OfRecipient = Annotated[Ref | None, Query(description="Only this recipient's")]
_CHANGE = problems.responses(409)


@router.get("/v1/recipients", summary="List recipients")
async def list_recipients(
    caller: Writer, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[RecipientBody]:
    """By id: people without an account, and users who are subscribed, have a push token or preferences."""
    (after,) = decode(cursor, str) or ("",)
    found = await services.notices.recipients(caller.tenant, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.recipient)


@router.post("/v1/recipients", status_code=201, summary="Add somebody without an account")
async def add_recipient(form: WishesForm, caller: Writer, services: Given, response: Response) -> RecipientBody:
    made = await services.notices.add_recipient(caller.tenant, form.wishes(), witness=witness(services, caller))
    response.headers["Location"] = f"/v1/recipients/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return forms.recipient(made)


@router.get("/v1/recipients/{recipient}", summary="Show a recipient")
async def show_recipient(recipient: Id, caller: Writer, services: Given, tagged: Tagged) -> RecipientBody:
    found = await services.notices.recipient(caller.tenant, recipient)
    tagged(found.version)
    return forms.recipient(found)


@router.put("/v1/recipients/{recipient}", summary="Set a recipient's preferences", responses=_CHANGE)
async def set_recipient(
    recipient: Id, form: WishesForm, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> RecipientBody:
    """All of them; what is left out becomes the default."""
    after = await services.notices.set_wishes(
        caller.tenant, recipient, form.wishes(), expected=expected, witness=witness(services, caller)
    )
    tagged(after.version)
    return forms.recipient(after)


@router.delete("/v1/recipients/{recipient}", status_code=204, summary="Remove a recipient")
async def remove_recipient(recipient: Id, caller: Writer, services: Given) -> None:
    """With his subscriptions, push tokens and notices; of a user the account stays."""
    await services.notices.remove_recipient(caller.tenant, recipient, witness=witness(services, caller))


@router.get("/v1/subscriptions", summary="List subscriptions")
async def list_subscriptions(
    caller: Reader,
    services: Given,
    recipient: OfRecipient = None,
    site: Annotated[Ref | None, Query(description="Only of this site")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[SubscriptionBody]:
    """One's own; with `alerts:write` everybody's."""
    (after,) = decode(cursor, str) or ("",)
    if not may_look_after_others(caller):
        mine = me(caller)
        if mine is None or recipient not in {None, mine}:
            return Page(items=[], next=None)
        recipient = mine
    found = await services.notices.subscriptions(
        caller.tenant, recipient=recipient, site=site, after=after, limit=limit + 1
    )
    return page(found, limit, key=lambda each: (each.id,), item=forms.subscription)


@router.post("/v1/subscriptions", status_code=201, summary="Subscribe to a site", responses=_CHANGE)
async def subscribe(form: NewSubscription, caller: Reader, services: Given, response: Response) -> SubscriptionBody:
    """Oneself; with `alerts:write` anybody. A supplier subscribes to sites of his own."""
    recipient = recipient_of(caller, form.recipient)
    made = await services.notices.subscribe(
        caller.tenant, recipient=recipient, site=form.site, kinds=form.kinds, witness=witness(services, caller)
    )
    response.headers["Location"] = f"/v1/subscriptions/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return forms.subscription(made)


@router.get("/v1/subscriptions/{subscription}", summary="Show a subscription")
async def show_subscription(subscription: Id, caller: Reader, services: Given, tagged: Tagged) -> SubscriptionBody:
    found = await services.notices.subscription(caller.tenant, subscription, of=_of(caller))
    tagged(found.version)
    return forms.subscription(found)


@router.patch("/v1/subscriptions/{subscription}", summary="Change a subscription", responses=_CHANGE)
async def change_subscription(
    subscription: Id, form: SubscriptionChange, caller: Reader, services: Given, expected: Expected, tagged: Tagged
) -> SubscriptionBody:
    after = await services.notices.change_subscription(
        caller.tenant,
        subscription,
        form.kinds,
        of=_of(caller),
        expected=expected,
        witness=witness(services, caller),
    )
    tagged(after.version)
    return forms.subscription(after)


@router.delete("/v1/subscriptions/{subscription}", status_code=204, summary="End a subscription")
async def unsubscribe(subscription: Id, caller: Reader, services: Given) -> None:
    await services.notices.unsubscribe(caller.tenant, subscription, of=_of(caller), witness=witness(services, caller))


@router.get("/v1/push-tokens", summary="List push tokens")
async def list_push_tokens(
    caller: Reader,
    services: Given,
    recipient: OfRecipient = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[PushTokenBody]:
    """One's own; with `alerts:write` everybody's."""
    (after,) = decode(cursor, str) or ("",)
    if not may_look_after_others(caller):
        mine = me(caller)
        if mine is None or recipient not in {None, mine}:
            return Page(items=[], next=None)
        recipient = mine
    found = await services.notices.tokens(caller.tenant, recipient=recipient, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.push_token)


@router.post("/v1/push-tokens", status_code=201, summary="Register an app's push token", responses=_CHANGE)
async def add_push_token(form: NewPushToken, caller: Reader, services: Given) -> PushTokenBody:
    """Repeat it at each start of the app. A token that was somebody else's is his no more."""
    made = await services.notices.add_token(
        caller.tenant,
        recipient=recipient_of(caller, form.recipient),
        platform=form.platform,
        token=form.token,
        witness=witness(services, caller),
    )
    return forms.push_token(made)


@router.delete("/v1/push-tokens/{push_token}", status_code=204, summary="Remove a push token")
async def remove_push_token(push_token: Id, caller: Reader, services: Given) -> None:
    """As when the app signs out."""
    await services.notices.remove_token(caller.tenant, push_token, of=_of(caller), witness=witness(services, caller))


def _of(caller: Caller) -> str | None:
    """Whose things he may touch; None: anybody's. A program that looks after nobody finds nothing."""
    return None if may_look_after_others(caller) else me(caller) or ""
