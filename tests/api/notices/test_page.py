"""The page of a tracking link: its address is its key, and stays out of headers, caches and logs."""

from pathlib import Path

import httpx
import pytest

from core.settings import ConsoleSettings, Settings
from tests.api.conftest import Api
from tests.api.notices.conftest import Office
from tests.notify.world import STOP, TRIP

pytestmark = [pytest.mark.db, pytest.mark.redis]


@pytest.fixture
def api_settings(api_settings: Settings, tmp_path: Path) -> Settings:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>Console</title>")
    (folder / "track.html").write_text("<!doctype html><title>Your truck</title>")
    return api_settings.model_copy(update={"console": ConsoleSettings(folder=folder)})


async def test_every_link_opens_the_page_which_travels_nowhere(api: Api):
    async with httpx.AsyncClient(base_url=api.url) as public:
        for path in ("/t/anything", "/t/with.a-dot_and-more"):
            page = await public.get(path)
            assert (page.status_code, "Your truck" in page.text) == (200, True)
            assert page.headers["referrer-policy"] == "no-referrer"
            assert page.headers["cache-control"] == "no-store"
            assert "noindex" in page.headers["x-robots-tag"]
            assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "Console" in (await public.get("/trips")).text


async def test_no_line_of_the_log_holds_a_token(office: Office, capsys: pytest.CaptureFixture[str]):
    async with office.api.client("acme") as admin, httpx.AsyncClient(base_url=office.api.url) as public:
        token = (await admin.post(f"/v1/trips/{TRIP}/links", json={"stop": STOP})).json()["token"]
        for path in (f"/v1/track/{token}", f"/v1/track/{token}x", f"/t/{token}"):
            await public.get(path)
        async with public.stream("GET", f"/v1/track/{token}/stream"):
            pass
    said = capsys.readouterr()
    assert "/v1/track/..." in said.out + said.err
    assert token not in said.out + said.err
