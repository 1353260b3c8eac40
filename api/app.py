"""The application: layers, routes, error handlers. Nothing is built here that needs closing."""

from collections.abc import Iterable, Sequence

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute

from api import control, fleet, notices, trips, twin
from api.http import console, health, openapi, problems
from api.http.assets import Pages
from api.http.bodies import Bodies
from api.http.entrance import Entrance
from api.http.etags import Conditional
from api.http.idempotency import Idempotent
from api.http.limits import Strays
from api.http.security import declared
from api.identity import routes as identity
from api.live import sse, websocket
from api.services import Services
from core.settings import ApiSettings, Settings

# Every surface of the API, in the order of the document. A further one is a further line; each router states its own
# prefix and tags and includes no other.
ROUTERS: Sequence[APIRouter] = (
    *identity.ROUTERS,
    *fleet.ROUTERS,
    *trips.ROUTERS,
    *twin.ROUTERS,
    *notices.ROUTERS,
    *control.ROUTERS,
    websocket.router,
    sse.router,
    console.router,
    health.router,
    openapi.router,
)

_EXPOSED = ("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
_ACCEPTED = ("Authorization", "If-Match", "If-None-Match", "Idempotency-Key", "Milkrun-Tenant", "X-Request-ID")


def create_app(services: Services, routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    app = bare_app(routers)
    app.state.services = services
    app.router.default = Pages(services.settings, not_found=Strays(app.router.default, services.limits))
    _add_layers(app, services.settings)
    return app


def bare_app(routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    """The routes and their document, without anything to answer with."""
    app = FastAPI(title="Milkrun", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    problems.install(app)
    app.router.routes.extend(route for router in routers for route in _prepared(router.routes))
    return app


def _prepared(routes: Iterable[BaseRoute]) -> Iterable[BaseRoute]:
    for route in routes:
        access = declared(route)
        if access is None:
            raise TypeError(f"{getattr(route, 'path', route)} does not say who may call it: needs(...) or PUBLIC")
        if isinstance(route, APIRoute) and not access.is_public and "POST" in (route.methods or ()):
            # Routers outlive an app, and a second app must not wrap them again.
            route.app = route.app if isinstance(route.app, Idempotent) else Idempotent(route.app, f"POST {route.path}")
        yield route


def _add_layers(app: FastAPI, settings: Settings) -> None:
    """The last one added is the outermost."""
    app.add_middleware(Bodies, max_bytes=settings.api.max_body_bytes)
    app.add_middleware(Conditional)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    if settings.api.cors_origins:
        _allow_origins(app, settings.api)
    app.add_middleware(Entrance, settings=settings.api)


def _allow_origins(app: FastAPI, settings: ApiSettings) -> None:
    # No credentials: another site's page carries a token of its own, never our cookie.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=_ACCEPTED,
        expose_headers=_EXPOSED,
        max_age=600,
    )
