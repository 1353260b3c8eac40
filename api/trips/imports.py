"""Sites and routes from files over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from api.access import Scope
from api.fleet.given import auditor
from api.http import problems
from api.http.errors import UnsupportedMedia
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.services import Given, Services
from core.db import TenantTx
from eta.sites.files import MAX_LINES, Format
from eta.sites.imports import ImportWitness, Report

router = APIRouter(route_class=StrictRoute)

Writer = Annotated[Caller, needs(Scope.SITES_WRITE)]
DryRun = Annotated[bool, Query(description="Report what it would do, and do nothing")]
_FORMATS: dict[str, Format] = {"text/csv": "csv", "application/geo+json": "geojson", "application/json": "geojson"}
_GEOJSON = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "maxItems": MAX_LINES},
    },
}
_FILE: dict[str, Any] = {
    "responses": problems.responses(409, 413, 415),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/geo+json": {"schema": _GEOJSON},
                "application/json": {"schema": _GEOJSON},
            },
        }
    },
}


class BadLineBody(BaseModel):
    """A line that was left out, and why."""

    line: int = Field(description="From 1: of CSV the lines of the file with its header, of GeoJSON the features")
    code: str
    message: str


class ReportBody(BaseModel):
    """What an import did, in sites or routes."""

    dry_run: bool
    lines: int = Field(description="That were read, the header and empty ones not counted")
    added: int
    changed: int
    unchanged: int
    errors: list[BadLineBody]


@router.post("/v1/sites/import", tags=["sites"], summary="Import sites from CSV or GeoJSON", **_FILE)
async def import_sites(request: Request, caller: Writer, services: Given, dry_run: DryRun = False) -> ReportBody:
    """Up to 10,000 lines; each adds a site or changes the one that has its code. Lines that are wrong are left out."""
    report = await services.imports.sites(
        caller.tenant,
        await request.body(),
        _format(request),
        is_dry_run=dry_run,
        witness=_witness(services, caller, "sites.imported"),
    )
    return _body(report)


@router.post("/v1/routes/import", tags=["routes"], summary="Import routes from CSV or GeoJSON", **_FILE)
async def import_routes(request: Request, caller: Writer, services: Given, dry_run: DryRun = False) -> ReportBody:
    """Up to 10,000 lines, in CSV one for each stop. A route with one wrong line is left out whole."""
    report = await services.imports.routes(
        caller.tenant,
        await request.body(),
        _format(request),
        is_dry_run=dry_run,
        witness=_witness(services, caller, "routes.imported"),
    )
    return _body(report)


def _format(request: Request) -> Format:
    """Raises UnsupportedMedia."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named not in _FORMATS:
        raise UnsupportedMedia(
            f"a file is sent as one of {', '.join(_FORMATS)}, not as {named[:100] or 'nothing named'}"
        )
    return _FORMATS[named]


def _witness(services: Services, caller: Caller, action: str) -> ImportWitness:
    async def write(tx: TenantTx, report: Report) -> None:
        counts = {"added": report.added, "changed": report.changed, "left_out": len(report.errors)}
        await auditor(services).audit(tx, caller, action, str(caller.tenant), after=counts)

    return write


def _body(report: Report) -> ReportBody:
    return ReportBody(
        dry_run=report.is_dry_run,
        lines=report.lines,
        added=report.added,
        changed=report.changed,
        unchanged=report.unchanged,
        errors=[BadLineBody(line=bad.line, code=bad.code, message=bad.message) for bad in report.errors],
    )
