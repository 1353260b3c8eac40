"""The application: middleware, routers, error handlers. Nothing is built here that needs closing."""

import uuid
from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http import health, problems
from api.services import Services

API_VERSION = "1.0.0"

# Every surface of the API, in the order of the document. A further package is a further line.
ROUTERS: Sequence[APIRouter] = (health.router,)


class RequestIds:
    """Every request has an id: the caller's own `X-Request-ID` where it is short and plain, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            scope.setdefault("state", {})["request_id"] = uuid.uuid4().hex
        await self._app(scope, receive, send)


def create_app(services: Services) -> FastAPI:
    app = FastAPI(
        title="Milkrun",
        version=API_VERSION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=problems.responses(400, 401, 403, 404, 422, 429, 503),
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    app.add_middleware(RequestIds)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
