"""`milkrun webhook`: where a tenant's own systems are told, tried out from the command line.

Whoever runs these is at the machine and acts as an operator; the audit log names his login there.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import typer

from api.identity.model import Actor, owner_of
from api.identity.store import IdentityStore
from cli import context
from cli.output import print_json, print_table, when
from cli.registry import DataOption, JsonOption, TenantArgument
from core import logs
from core.clock import utc_now
from core.db import Database, TenantTx
from core.tenancy import TenantId, tenant_id
from notify.delivery.store import Delivery
from notify.model import State
from notify.webhooks.service import KINDS, WebhookService
from notify.webhooks.store import Webhook
from provisioning.errors import TenantNotFound
from provisioning.store import RegistryStore

webhook_app = typer.Typer(help="Webhooks: add, list, test.", no_args_is_help=True, add_completion=False)

_PAGE = 1000
_LOOK_EVERY_S = 0.3


@webhook_app.command("add")
def add_webhook(
    tenant: TenantArgument,
    url: Annotated[str, typer.Argument(metavar="URL", show_default=False)],
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help=f"May be repeated; default: every kind. {', '.join(KINDS)}", show_default=False),
    ] = None,
    description: Annotated[str, typer.Option("--description", help="To show in lists.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a webhook. Its secret is shown this once."""
    owner = tenant_id(tenant)
    made, secret = _run(
        data,
        owner,
        lambda service: service.add(owner, url=url, kinds=kind or list(KINDS), description=description, witness=_note),
    )
    if as_json:
        print_json({**_facts(made), "secret": secret})
        return
    print(f"webhook {made.id} added for {made.url}")
    print(f"secret: {secret}  (shown this once)")


@webhook_app.command("list")
def list_webhooks(tenant: TenantArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List a tenant's webhooks."""
    owner = tenant_id(tenant)
    found = _run(data, owner, lambda service: service.page(owner, limit=_PAGE))
    if as_json:
        print_json([_facts(webhook) for webhook in found])
        return
    print_table(
        ("id", "status", "url", "kinds", "failing since"),
        [
            (w.id, f"{w.status} {w.disabled_reason}".strip(), w.url, " ".join(w.kinds), when(w.failing_since))
            for w in found
        ],
    )


@webhook_app.command("test")
def try_webhook(
    tenant: TenantArgument,
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK", show_default=False, help="Its id.")],
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for what came of it.")] = 20.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test event and tell what was answered. Exit code 1 unless it was taken."""
    owner = tenant_id(tenant)

    async def work(service: WebhookService) -> Delivery:
        sent = await service.test(owner, webhook, witness=_note)
        until = time.monotonic() + wait
        # The first attempt says it: its repeats come after seconds and more.
        while sent.state is State.PENDING and time.monotonic() < until:
            await asyncio.sleep(_LOOK_EVERY_S)
            sent = await service.delivery(owner, webhook, sent.id)
        return sent

    sent = _run(data, owner, work)
    if as_json:
        print_json({"delivery": sent.id, "state": sent.state, "status": sent.status, "error": sent.error})
    elif sent.state is State.SENT:
        print(f"taken: answered {sent.status}")
    elif sent.state is State.PENDING:
        print(f"not sent within {wait:g} s: does `python -m notify` run? delivery {sent.id} waits")
    else:
        print(f"not taken: {sent.error}")
    if sent.state is not State.SENT:
        raise typer.Exit(1)


def _run[T](data: DataOption, tenant: TenantId, work: Callable[[WebhookService], Awaitable[T]]) -> T:
    """Do `work` in the stack of `data`. Raises TenantNotFound."""
    settings = context.load(data).settings
    logs.configure(level="warning", json=settings.log.json_lines, process="cli")
    database = settings.database

    async def main() -> T:
        async with Database(database.app_url, pool_size=1, statement_timeout_s=database.statement_timeout_s) as app:
            async with app.tenant(tenant) as tx:
                if not await RegistryStore().tenant_exists(tx):
                    raise TenantNotFound(f"there is no tenant {tenant}")
            return await work(WebhookService(database=app, settings=settings.notify, clock=utc_now))

    return asyncio.run(main())


async def _note(
    tx: TenantTx, action: str, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    by = Actor.command_line(os.environ.get("USER") or str(os.getuid()))
    await IdentityStore().add_audit(
        tx, owner_of(tx.tenant), by, utc_now(), action=action, target=target, before=before, after=after
    )


def _facts(webhook: Webhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "kinds": list(webhook.kinds),
        "status": webhook.status,
        "disabled_reason": webhook.disabled_reason,
        "failing_since": webhook.failing_since,
        "created_at": webhook.created_at,
    }
