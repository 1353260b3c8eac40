from pathlib import Path

import pytest

from api.access import Role
from core.settings import ApiSettings, ConsoleSettings, Settings
from tests.api.http.served import Kernel, served


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    files = {
        "index.html": "<!doctype html><title>Console</title>" + "x" * 2000,
        "favicon.svg": "<svg/>",
        "manifest.json": '{"for": "the build"}',
        ".built-from": "secret",
        "assets/app-1a2b.js": "console.log('hello');" * 200,
        "assets/worker-3c4d.mjs": "export default 1;" * 200,
        "assets/font.woff2": "w" * 3000,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "outside.js").write_text("secret")
    (folder / "assets/link.js").symlink_to(tmp_path / "outside.js")
    return folder


@pytest.fixture
async def kernel(api_settings: Settings, dist: Path):
    async with served(with_console(api_settings, folder=dist)) as running:
        yield running


def with_console(settings: Settings, **console: object) -> Settings:
    return settings.model_copy(update={"console": ConsoleSettings(**console)})


@pytest.mark.parametrize("path", ["/", "/devices/truck-17", "/devices/acme:truck-17/track", "/v1x", "/manifest.json"])
async def test_every_address_that_is_not_the_apis_opens_the_console(kernel: Kernel, path: str):
    async with kernel.anybody() as client:
        answer = await client.get(path)
    assert answer.status_code == 200
    assert "<title>Console</title>" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nothing", "/oauth/nothing", "/.well-known/nothing", "/healthz/x", "/metrics", "/console/x"]
)
async def test_addresses_of_the_api_stay_the_apis(kernel: Kernel, path: str):
    async with kernel.anybody() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_files_whose_names_carry_a_hash_are_kept_for_ever_and_others_are_not(kernel: Kernel):
    async with kernel.anybody() as client:
        for name, kind in (("app-1a2b.js", "text/javascript; charset=utf-8"), ("font.woff2", "font/woff2")):
            answer = await client.get(f"/assets/{name}")
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["content-type"] == kind
        worker = await client.get("/assets/worker-3c4d.mjs")
        assert worker.headers["content-type"] == "text/javascript; charset=utf-8"
        favicon = await client.get("/favicon.svg")
        assert favicon.headers["cache-control"] == "public, max-age=3600"


async def test_a_file_is_sent_packed_and_not_at_all_when_it_is_known(kernel: Kernel):
    async with kernel.anybody() as client:
        for path in ("/", "/assets/app-1a2b.js"):
            packed = await client.get(path)
            plain = await client.get(path, headers={"Accept-Encoding": "identity"})
            assert packed.headers["content-encoding"] == "gzip"
            assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
            assert packed.content == plain.content
            known = await client.get(path, headers={"If-None-Match": packed.headers["etag"]})
            assert (known.status_code, known.content) == (304, b"")
        assert "content-encoding" not in (await client.get("/assets/font.woff2")).headers


@pytest.mark.parametrize(
    "path",
    [
        "/assets/nothing.js",
        "/assets/",
        "/assets/../.built-from",
        "/assets/%2e%2e/.built-from",
        "/assets/..%2f..%2foutside.js",
        "/assets/link.js",
        "/assets//app-1a2b.js",
    ],
)
async def test_nothing_outside_the_built_files_is_given_out(kernel: Kernel, path: str):
    async with kernel.anybody() as client:
        answer = await client.get(kernel.url + path)
    # What the client itself tidies to an address of the console opens the console.
    assert answer.status_code == 404 or "<title>Console</title>" in answer.text
    assert "secret" not in answer.text


async def test_another_build_is_served_without_a_restart(kernel: Kernel, dist: Path):
    async with kernel.anybody() as client:
        first = await client.get("/")
        (dist / "index.html").write_text("<title>Newer</title>")
        second = await client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (second.status_code, second.text) == (200, "<title>Newer</title>")


@pytest.mark.parametrize("folder", [None, Path("/nonexistent/console")])
async def test_where_the_console_is_not_built_the_page_says_how(api_settings: Settings, folder: Path | None):
    async with served(with_console(api_settings, folder=folder)) as kernel, kernel.anybody() as client:
        answer = await client.get("/")
        assert answer.status_code == 503
        assert "make console" in answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_the_tile_server_may_be_asked_and_nobody_else(api_settings: Settings, dist: Path):
    url = "https://tiles.example:8443/{z}/{x}/{y}.png"
    settings = with_console(api_settings, folder=dist, tiles_url=url, tiles_attribution="© mapmakers")
    settings = settings.model_copy(update={"api": ApiSettings(public_url="https://milkrun.example")})
    async with served(settings) as kernel, kernel.anybody() as client:
        policy = (await client.get("/")).headers["content-security-policy"]
        config = (await client.get("/console/config.json")).json()
    assert "img-src 'self' data: blob: https://tiles.example:8443;" in policy
    assert "connect-src 'self' https://tiles.example:8443 wss://milkrun.example;" in policy
    assert (config["tiles_url"], config["tiles_attribution"]) == (url, "© mapmakers")


async def test_the_ground_is_for_all_who_are_known_and_missing_where_there_is_none(
    api_settings: Settings, tmp_path: Path
):
    file = tmp_path / "basemap.geojson"
    async with served(with_console(api_settings, basemap_file=file)) as kernel:
        async with kernel.anybody() as client:
            assert (await client.get("/v1/basemap")).status_code == 401
        async with kernel.client("acme", Role.SITE) as client:
            missing = await client.get("/v1/basemap")
            assert (missing.status_code, missing.json()["code"]) == (404, "no_basemap")
            file.write_text('{"type":"FeatureCollection","features":[]}')
            found = await client.get("/v1/basemap")
            assert found.headers["content-type"] == "application/geo+json"
            assert found.json() == {"type": "FeatureCollection", "features": []}
            known = await client.get("/v1/basemap", headers={"If-None-Match": found.headers["etag"]})
            assert known.status_code == 304
