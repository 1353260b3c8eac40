"""The API's document (OpenAPI 3.1): what FastAPI knows of the routes, and what this house adds to every one of them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http import problems
from api.http.problems import Problem
from api.http.security import PUBLIC, Access, declared
from api.version import VERSION
from core.settings import ApiSettings

type Json = dict[str, Any]


_ABOUT = """Fleets, their devices and what these report, live and stored.

Every list comes in pages (`limit`, `cursor`), every error as problem details (RFC 9457) with a stable `code`, times as
ISO 8601 in UTC, quantities in SI units. What belongs to another tenant does not exist: 404. docs/api.md is the guide,
docs/live.md tells of the WebSocket and the event stream.
"""
_TAGS = {
    "health": "Is the process alive and able to work",
    "session": "Signing in with a browser, and who one is",
    "oauth": "Access tokens and the keys that verify them",
    "users": "Who may sign in",
    "clients": "Programs that get tokens for their secret",
    "api-keys": "Keys for programs that cannot get tokens",
    "audit": "Who changed what",
    "tenants": "Tenants; for operators",
    "devices": "The registry: devices, their state and certificates",
    "shadows": "What devices report, what is wanted of them, and what differs",
    "commands": "What is to be done by devices, and proof of whether it was",
    "telemetry": "Positions, tracks and metrics",
    "events": "What devices told of that is neither position nor metric",
    "dead letters": "What was refused on its way in, and its replay",
    "notices": "One's inbox and preferences",
    "subscriptions": "Who is told of which site, on which phones",
    "alerts": "The log of what was raised",
    "webhooks": "Where a tenant's own systems are told",
    "tracking": "Links that show one stop of one trip to whoever has them",
    "sites": "Places trucks go to",
    "routes": "Stops in order, and when they are driven",
    "trips": "Rounds of a day: planned, driven, changed while they run",
    "live": "Tickets for live connections",
    "console": "What the console needs to start",
}
_EXAMPLE = {
    "type": "urn:milkrun:problem:device_not_found",
    "title": "Not Found",
    "status": 404,
    "code": "device_not_found",
    "detail": "there is no device 'truck-99'",
    "instance": "/v1/devices/truck-99",
    "request_id": "0f9c2a5b7d3e4c1f8a6b5d4e3c2b1a09",
}
_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_HEADERS: Mapping[str, Json] = {
    "X-Request-ID": {"description": "Finds this request in the log", "schema": _TEXT},
    "RateLimit-Policy": {
        "description": 'Limits that apply: `"client";q=200;w=4`, so many at once, whole after so many seconds',
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": 'What is left of them: `"client";r=199;t=1`, and seconds until whole',
        "schema": _TEXT,
    },
    "WWW-Authenticate": {"description": "How to prove who one is", "schema": _TEXT},
    "Retry-After": {"description": "Seconds until a request passes", "schema": _NUMBER},
    "ETag": {"description": "Version of this resource", "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "`true`: this is what the first request with this key was answered",
        "schema": _TEXT,
    },
}
_EVERYWHERE = ("X-Request-ID", "RateLimit-Policy", "RateLimit")
_STATUS_HEADERS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",)}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "A name for this request, best a UUID: sent again, it is answered as before and done once",
}

_NO_NUL = r"^[^\x00]*$"

router = APIRouter(dependencies=[PUBLIC])


@router.get("/v1/openapi.json", include_in_schema=False)
async def openapi_document(request: Request) -> Response:
    state = request.app.state
    if not hasattr(state, "document"):
        settings: ApiSettings = state.services.settings.api
        url = settings.public_url or f"http://{settings.host}:{settings.port}"
        state.document = json.dumps(document(request.app, url)).encode()
    return Response(state.document, media_type="application/json")


def document(app: FastAPI, url: str = "http://127.0.0.1:8080") -> Json:
    """The whole document of an app's routes, served at `url`."""
    found = _collect(app)
    flow = found["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    flow["tokenUrl"] = url.rstrip("/") + flow["tokenUrl"]
    # Page[DeviceBody] is called Page_DeviceBody_ by its validator.
    named: Json = json.loads(re.sub(r"\bPage_(\w+?)(?:Body)?_(?=[\"/])", r"\1Page", json.dumps(found)))
    return named


def _collect(app: FastAPI) -> Json:
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema]
    found = get_openapi(
        title="Milkrun",
        version=VERSION,
        description=_ABOUT,
        routes=routes,
        servers=[{"url": "/"}],
        separate_input_output_schemas=False,
    )
    for route in routes:
        for method, operation in _operations(found, route):
            _complete(method, operation, route)
    used = {tag for route in routes for tag in route.tags}
    found["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    components = found.setdefault("components", {})
    components["headers"] = dict(_HEADERS)
    schemas = components.setdefault("schemas", {})
    for left_over in ("HTTPValidationError", "ValidationError"):
        schemas.pop(left_over, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["Problem"] = problem | {"examples": [_EXAMPLE]}
    components.setdefault("securitySchemes", {})["bearer"] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of POST /oauth/token, or an API key",
    }
    _tell_of_nul(found)
    return found


def _tell_of_nul(found: Json) -> None:
    """No text that comes in may hold a NUL, which PostgreSQL cannot store (api.http.bodies): said at each text."""
    schemas = found["components"]["schemas"]
    seen: set[str] = set()

    def mark(node: Any) -> None:
        if isinstance(node, list):
            for each in node:
                mark(each)
        if not isinstance(node, dict):
            return
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            mark(schemas[name])
        if node.get("type") == "string" and not node.keys() & {"pattern", "enum", "const", "format"}:
            node["pattern"] = _NO_NUL
        for each in node.values():
            mark(each)

    for operation in (operation for methods in found["paths"].values() for operation in methods.values()):
        mark([parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"])
        mark([content["schema"] for content in operation.get("requestBody", {}).get("content", {}).values()])


def undescribed(found: Json) -> list[str]:
    """What is missing in a document that people shall read: tags, summaries, unique names."""
    missing, names = [], set()
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            if operation["operationId"] in names:
                missing.append(f"{where}: another operation is called {operation['operationId']}, too")
            names.add(operation["operationId"])
            if not set(operation.get("tags", ())) & _TAGS.keys() or len(operation["tags"]) != 1:
                missing.append(f"{where}: it needs one tag of {', '.join(_TAGS)}")
            if len(operation.get("summary", "")) < 5:
                missing.append(f"{where}: it needs a summary")
    return missing


def _operations(found: Json, route: APIRoute) -> Iterator[tuple[str, Json]]:
    for method in route.methods or ():
        yield method, found["paths"][route.path_format][method.lower()]


def _complete(method: str, operation: Json, route: APIRoute) -> None:
    operation["operationId"] = route.name
    access = declared(route) or Access(is_public=True)
    if method != "GET":
        # It comes with `Tagged`, which gives the answer of a change its ETag, too.
        kept = [each for each in operation.get("parameters", ()) if each["name"].lower() != "if-none-match"]
        operation["parameters"] = kept
    names = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    required = [str(scope) for scope in access.scopes]
    operation["security"] = [] if access.is_public else [{"oauth2": required}, {"bearer": required}, {"session": []}]
    repeats = method == "POST" and not access.is_public
    if repeats:
        operation.setdefault("parameters", []).append(dict(_IDEMPOTENCY_KEY))
    reasons = {
        422: True,
        429: True,
        **dict.fromkeys((400, 401, 403, 404, 503), not access.is_public),
        409: repeats,
        412: "if-match" in names,
        413: "requestBody" in operation,
    }
    responses: Json = operation["responses"]
    responses.pop("422", None)
    for status, response in problems.responses(*(status for status, can_be in reasons.items() if can_be)).items():
        responses.setdefault(str(status), response)
    if "if-none-match" in names:
        responses["304"] = {"description": "What is known already still holds"}
    for status, response in responses.items():
        told = [*_EVERYWHERE, *_STATUS_HEADERS.get(status, ())]
        if status in {"200", "304"} and names & {"if-none-match", "if-match"}:
            told.append("ETag")
        if status.startswith("2") and repeats:
            told.append("Idempotency-Replayed")
        shared = {name: {"$ref": f"#/components/headers/{name}"} for name in told}
        response["headers"] = shared | response.get("headers", {})
    for parameter in operation.get("parameters", ()):
        _never_null(parameter)
    operation["responses"] = dict(sorted(responses.items()))


def _never_null(parameter: Json) -> None:
    """A parameter is there or not; null cannot be written in an address or a header."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**kinds[0], **schema}
    parameter["schema"].pop("description", None)
