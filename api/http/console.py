"""What the console asks for before and beside signing in: its settings, and the ground to draw trucks on."""

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from api.http.etags import Tagged
from api.http.security import PUBLIC, Caller, needs
from api.services import Given
from api.version import VERSION
from core.errors import NotFound

LANGUAGES = ("en", "de")

router = APIRouter(tags=["console"])


class NoBasemap(NotFound):
    """This installation has no roads to draw."""

    code = "no_basemap"


class ConsoleConfig(BaseModel):
    """Settings of the console in the browser."""

    version: str
    languages: list[str] = Field(description="Languages the console speaks, the first by default")
    tiles_url: str | None = Field(description="Tiles to draw; null: the roads of /v1/basemap")
    tiles_attribution: str | None = Field(description="Whom the tile server wants named")


@router.get("/console/config.json", summary="Settings of the console", dependencies=[PUBLIC])
async def console_config(services: Given, response: Response) -> ConsoleConfig:
    """Nothing in it is secret: it is read before anybody has signed in."""
    settings = services.settings.console
    response.headers["Cache-Control"] = "no-cache"
    return ConsoleConfig(
        version=VERSION,
        languages=list(LANGUAGES),
        tiles_url=settings.tiles_url or None,
        tiles_attribution=settings.tiles_attribution or None,
    )


class GeoJson(JSONResponse):
    media_type = "application/geo+json"


@router.get("/v1/basemap", summary="Roads and places to draw where there is no tile server", response_class=GeoJson)
async def basemap(_caller: Annotated[Caller, needs()], services: Given, _tagged: Tagged) -> Response:
    """A GeoJSON FeatureCollection of lines (`highway`, `name`) and points (`kind`, `name`); 404 where there is none."""
    file = services.settings.console.basemap_file
    if file is None or not file.is_file():
        raise NoBasemap("this installation has no base map of its own")
    return Response(
        file.read_bytes(), headers={"ETag": f'"{file.stat().st_mtime_ns:x}"'}, media_type=GeoJson.media_type
    )
