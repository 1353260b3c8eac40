"""Webhooks: where a tenant's own systems are told, and how each message went."""

from datetime import datetime, timedelta
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
    DeliveryBody,
    NewWebhook,
    Rotation,
    WebhookBody,
    WebhookChange,
    WebhookMade,
    WholeDeliveryBody,
)
from api.notices.given import Id, witness
from api.services import Given
from notify.model import State

router = APIRouter(tags=["webhooks"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.WEBHOOKS_READ)]
Writer = Annotated[Caller, needs(Scope.WEBHOOKS_WRITE)]
_CHANGE = problems.responses(409)


@router.get("/v1/webhooks", summary="List webhooks")
async def list_webhooks(
    caller: Reader, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[WebhookBody]:
    """In the order in which they were made."""
    (after,) = decode(cursor, str) or ("",)
    found = await services.webhooks.page(caller.tenant, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=lambda each: forms.webhook(each, []))


@router.post("/v1/webhooks", status_code=201, summary="Add a webhook", responses=_CHANGE)
async def add_webhook(form: NewWebhook, caller: Writer, services: Given, response: Response) -> WebhookMade:
    """The answer alone holds the secret. How messages are signed is told in docs/notify.md."""
    made, secret = await services.webhooks.add(
        caller.tenant,
        url=form.url,
        kinds=form.kinds,
        description=form.description,
        witness=witness(services, caller),
    )
    response.headers["Location"] = f"/v1/webhooks/{made.id}"
    response.headers["ETag"] = etag(made.version)
    _, secrets = await services.webhooks.show(caller.tenant, made.id)
    return forms.webhook_made(made, secrets, secret)


@router.get("/v1/webhooks/{webhook}", summary="Show a webhook")
async def show_webhook(webhook: Id, caller: Reader, services: Given, tagged: Tagged) -> WebhookBody:
    found, secrets = await services.webhooks.show(caller.tenant, webhook)
    tagged(found.version, also=forms.failing_part(found))
    return forms.webhook(found, secrets)


@router.patch("/v1/webhooks/{webhook}", summary="Change, disable or enable a webhook", responses=_CHANGE)
async def change_webhook(
    webhook: Id, form: WebhookChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> WebhookBody:
    """What waits for one that is disabled is given up, and can be redelivered."""
    after, secrets = await services.webhooks.change(
        caller.tenant,
        webhook,
        url=form.url,
        kinds=form.kinds,
        description=form.description,
        status=form.status,
        expected=expected,
        witness=witness(services, caller),
    )
    tagged(after.version, also=forms.failing_part(after))
    return forms.webhook(after, secrets)


@router.delete("/v1/webhooks/{webhook}", status_code=204, summary="Remove a webhook")
async def remove_webhook(webhook: Id, caller: Writer, services: Given) -> None:
    """With the record of its deliveries."""
    await services.webhooks.remove(caller.tenant, webhook, witness=witness(services, caller))


@router.post("/v1/webhooks/{webhook}/secret", status_code=201, summary="Give a webhook another secret")
async def rotate_webhook_secret(webhook: Id, form: Rotation, caller: Writer, services: Given) -> WebhookMade:
    """The answer alone holds it. Until the overlap is over every message carries a signature of each."""
    hours = services.settings.notify.webhook_overlap_hours if form.overlap_hours is None else form.overlap_hours
    after, secrets, secret = await services.webhooks.rotate(
        caller.tenant, webhook, overlap=timedelta(hours=hours), witness=witness(services, caller)
    )
    return forms.webhook_made(after, secrets, secret)


@router.post("/v1/webhooks/{webhook}/test", status_code=202, summary="Send a test event", responses=_CHANGE)
async def test_webhook(webhook: Id, caller: Writer, services: Given) -> DeliveryBody:
    """Its delivery tells how it went."""
    return forms.delivery(await services.webhooks.test(caller.tenant, webhook, witness=witness(services, caller)))


@router.get("/v1/webhooks/{webhook}/deliveries", summary="List what was sent to a webhook")
async def list_deliveries(
    webhook: Id,
    caller: Reader,
    services: Given,
    state: Annotated[State | None, Query(description="Only these")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[DeliveryBody]:
    """Newest first."""
    before: tuple[datetime, str] | None = decode(cursor, datetime, str)
    found = await services.webhooks.deliveries(caller.tenant, webhook, state=state, before=before, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.created_at, each.id), item=forms.delivery)


@router.get("/v1/webhooks/{webhook}/deliveries/{delivery}", summary="Show a delivery")
async def show_delivery(webhook: Id, delivery: Id, caller: Reader, services: Given) -> WholeDeliveryBody:
    return forms.whole_delivery(await services.webhooks.delivery(caller.tenant, webhook, delivery))


@router.post(
    "/v1/webhooks/{webhook}/deliveries/{delivery}/redeliver",
    status_code=202,
    summary="Send a message once more",
    responses=_CHANGE,
)
async def redeliver(webhook: Id, delivery: Id, caller: Writer, services: Given) -> DeliveryBody:
    """Under the same `webhook-id`, with all its attempts before it again."""
    again = await services.webhooks.redeliver(caller.tenant, webhook, delivery, witness=witness(services, caller))
    return forms.delivery(again)
