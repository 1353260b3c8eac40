"""Sites over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.access import Scope
from api.fleet.given import Labels, labels_of
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.services import Given
from api.trips import site_forms
from api.trips.given import Archived, SitePath, site_witness
from api.trips.site_forms import NewSite, SiteBody, SiteChange
from eta.sites.model import SiteFacts, SiteKind
from eta.sites.store import WantedSites

router = APIRouter(tags=["sites"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.SITES_READ)]
Writer = Annotated[Caller, needs(Scope.SITES_WRITE)]
_CHANGE = problems.responses(409, 412)


@router.get("/v1/sites", summary="List sites")
async def list_sites(
    caller: Reader,
    services: Given,
    kind: Annotated[SiteKind | None, Query(description="Only these")] = None,
    label: Labels = None,
    q: Annotated[str | None, Query(min_length=1, max_length=100, description="Part of the name or code")] = None,
    archived: Archived = False,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[SiteBody]:
    """In the order in which they were made."""
    (after,) = decode(cursor, str) or ("",)
    wanted = WantedSites(kind=kind, labels=labels_of(label), archived=archived, search=q)
    found = await services.places.sites(caller.tenant, wanted, after=after, limit=limit + 1)
    return page(found, limit, key=lambda site: (site.id,), item=site_forms.site)


@router.post("/v1/sites", status_code=201, summary="Add a site", responses=problems.responses(409))
async def add_site(form: NewSite, caller: Writer, services: Given, response: Response) -> SiteBody:
    """409 `code_taken`."""
    witness = site_witness(services, caller, "site.added")
    made = await services.places.add_site(caller.tenant, form.over({}), witness=witness)
    response.headers["Location"] = f"/v1/sites/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return site_forms.site(made)


@router.get("/v1/sites/{site}", summary="Show a site")
async def show_site(site: SitePath, caller: Reader, services: Given, tagged: Tagged) -> SiteBody:
    found = await services.places.site(caller.tenant, site)
    tagged(found.version)
    return site_forms.site(found)


@router.patch("/v1/sites/{site}", summary="Change a site, or take it out of use", responses=_CHANGE)
async def change_site(
    site: SitePath, form: SiteChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> SiteBody:
    """409 `site_in_use` for taking out one that a route in use stops at."""

    def changed(facts: SiteFacts) -> SiteFacts:
        return form.over({name: getattr(facts, name) for name in SiteFacts.__slots__})

    after = await services.places.change_site(
        caller.tenant,
        site,
        changed,
        is_archived=form.archived,
        expected=expected,
        witness=site_witness(services, caller, "site.changed"),
    )
    tagged(after.version)
    return site_forms.site(after)
