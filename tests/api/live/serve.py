"""An API process of its own for tests that kill it: `python -m tests.api.live.serve PORT TENANT...` with MILKRUN_*.

The token of a tenant is its name: identity has tests of its own.
"""

import asyncio
import socket
import sys
from collections.abc import Sequence

from api.access import ROLE_SCOPES, Principal, Role, Session
from api.app import create_app
from api.http.errors import Unauthorized
from api.process import server, services
from core import settings as settings_of
from core.tenancy import tenant_id
from core.worker import until_stopped


class ByName:
    async def by_bearer(self, token: str) -> Principal:
        role = Role.VIEWER
        return Principal(kind="client", id=token, tenant=tenant_id(token), role=role, scopes=ROLE_SCOPES[role])

    async def by_session(self, cookie: str) -> Session:
        raise Unauthorized("nobody signs in here")

    async def still_valid(self, principals: Sequence[Principal]) -> list[bool]:
        return [True for _ in principals]


async def main(port: int) -> None:
    settings = settings_of.load()
    async with services(settings, ByName()) as given:
        http = server(create_app(given), settings)
        listener = socket.create_server(("127.0.0.1", port))

        async def drain() -> None:
            given.live.drain()
            http.should_exit = True
            await asyncio.wait([serving])

        serving = asyncio.ensure_future(http.serve(sockets=[listener]))
        await until_stopped(serving, given.live.run(), before_cancel=drain)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
