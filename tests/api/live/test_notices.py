"""The channel of one's own inbox: everybody hears of his own notices, and of nobody else's, whatever his role."""

import secrets

import pytest

from api.access import ROLE_SCOPES, Principal, Role
from core.events import NoticePosted
from core.tenancy import TenantId
from tests.api.live.wire import Live

pytestmark = [pytest.mark.db, pytest.mark.redis]


def user(api, name: str, role: Role, tenant: str = "acme") -> str:
    token = secrets.token_hex(8)
    api.tokens.known[token] = Principal(
        kind="user", id=f"usr_{name}", tenant=TenantId(tenant), role=role, scopes=ROLE_SCOPES[role]
    )
    return token


def posted(recipient: str, number: int, tenant: str = "acme") -> NoticePosted:
    return NoticePosted(tenant=tenant, notice=f"ntc_{number}", recipient=f"usr_{recipient}", kind="10min", title="Farm")


async def test_everybody_hears_of_his_own_inbox_alone(api, fleet):
    people = {
        "anna": await Live.open(api, user(api, "anna", Role.SITE)),
        "ben": await Live.open(api, user(api, "ben", Role.SITE)),
        "dora": await Live.open(api, user(api, "dora", Role.TENANT_ADMIN)),
    }
    for live in people.values():
        assert (await live.subscribe("notices"))["snapshot"] == []
    for number, name in enumerate(("anna", "ben", "dora", "nobody")):
        await fleet.publish(posted(name, number))
    await fleet.publish(posted("anna", 9, tenant="zeta"))
    for number, (name, live) in enumerate(people.items()):
        (told,) = await live.events(1)
        assert (told["type"], told["data"]["notice"], told["data"]["recipient"]) == (
            "notice", f"ntc_{number}", f"usr_{name}",
        )  # fmt: skip
        await live.send(type="ping", at=1)
        assert await live.frame() == {"type": "pong", "at": 1}
        await live.close()
