"""The built console, served at every address that is not the API's own.

Files below `assets` carry a hash in their names and never change. Every other address is a page of the console, which
is one file that reads the address itself; so a link to `/devices/truck-17` opens.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.settings import Settings

_API = ("/v1", "/oauth", "/.well-known", "/healthz", "/readyz", "/metrics", "/console", "/assets")
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".pbf": "application/x-protobuf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_PACKED = frozenset({".css", ".html", ".js", ".json", ".mjs", ".pbf", ".svg", ".txt", ".wasm", ".webmanifest"})
_FOR_EVER, _A_WHILE, _ASK = "public, max-age=31536000, immutable", "public, max-age=3600", "no-cache"
# Whoever has the address of a tracking page has its key: it goes into no Referer header, cache or search engine.
_KEYED = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Milkrun</title>
<h1>The console is not built</h1>
<p>The API runs. For the console, type <code>make console</code> in Milkrun's folder and load this page again.</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file as it is sent; `packed` is its gzip where that is smaller."""

    changed_ns: int
    body: bytes
    packed: bytes | None
    headers: dict[str, str]


class Pages:
    """Where no route is: the console's files and pages, or `not_found`."""

    def __init__(self, settings: Settings, not_found: ASGIApp) -> None:
        self._folder = settings.console.folder
        self._not_found = not_found
        self._security = page_headers(settings)
        self._known: dict[Path, _Asset] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        await (answer or self._not_found)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        file = self._file(path.lstrip("/"))
        if file is None and any(path == mine or path.startswith(f"{mine}/") for mine in _API):
            return None
        is_tracking = file is None and path.startswith("/t/")
        file = file or (self._file("track.html") if is_tracking else None) or self._file("index.html")
        if file is None:
            return Response(_NOT_BUILT, 503, {**self._security, "Retry-After": "60"}, media_type="text/html")
        asset = self._asset(file)
        headers = {**asset.headers, **self._security, **(_KEYED if is_tracking else {})}
        if asset.packed is not None and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"})
        return Response(asset.body, headers=headers)

    def _file(self, name: str) -> Path | None:
        """The file called `name` in the built console, if it is one to be served."""
        if self._folder is None or not name or Path(name).suffix not in _TYPES or name == "manifest.json":
            return None
        parts = name.split("/")
        if any(part in {"", ".."} or part.startswith(".") or "\\" in part for part in parts):
            return None
        file = self._folder.joinpath(*parts)
        return file if file.is_file() and file.resolve().is_relative_to(self._folder.resolve()) else None

    def _asset(self, file: Path) -> _Asset:
        changed_ns = file.stat().st_mtime_ns
        known = self._known.get(file)
        if known is None or known.changed_ns != changed_ns:
            known = self._known[file] = self._read(file, changed_ns)
        return known

    def _read(self, file: Path, changed_ns: int) -> _Asset:
        assert self._folder is not None
        body = file.read_bytes()
        packed = gzip.compress(body, mtime=0) if file.suffix in _PACKED else body
        if file.is_relative_to(self._folder / "assets"):
            keep = _FOR_EVER
        else:
            keep = _ASK if file.suffix == ".html" else _A_WHILE
        headers = {
            "Content-Type": _TYPES[file.suffix] + ("; charset=utf-8" if file.suffix in _PACKED else ""),
            "Cache-Control": keep,
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:20]}"',
            "Vary": "Accept-Encoding",
        }
        return _Asset(changed_ns, body, packed if len(packed) < len(body) else None, headers)


def page_headers(settings: Settings) -> dict[str, str]:
    """What the console's pages and files may load: their own origin, and the tile server's where there is one."""
    more = []
    if origin := _origin(settings.console.tiles_url):
        more.append(origin)
    connect = list(more)
    if host := urlsplit(settings.api.public_url).netloc:
        # Some browsers do not count a WebSocket of the same host as 'self'.
        connect.append(f"{'wss' if settings.api.public_url.startswith('https:') else 'ws'}://{host}")
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:", *more],
        "font-src": ["'self'"],
        "connect-src": ["'self'", *connect],
        "worker-src": ["'self'"],
        "manifest-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return {"Content-Security-Policy": "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())}


def _origin(url: str) -> str:
    """Scheme and host of an absolute URL, as a content security policy names them; else nothing."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} and parts.netloc else ""
