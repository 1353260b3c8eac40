"""Tenants themselves; for operators."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.access import Scope
from api.fleet import forms
from api.fleet.forms import NewTenant, TenantBody, TenantChange
from api.fleet.given import tenant_witness
from api.http import problems
from api.http.errors import UnknownTenant
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.services import Given
from core.tenancy import InvalidName, TenantId, tenant_id
from provisioning.model import Tenant

router = APIRouter(tags=["tenants"], route_class=StrictRoute)

Reader = Annotated[Caller, needs(Scope.TENANTS_READ)]
Writer = Annotated[Caller, needs(Scope.TENANTS_WRITE)]
TenantPath = Annotated[str, Path(max_length=64, description="The tenant's id")]


@router.get("/v1/tenants", summary="List tenants")
async def list_tenants(
    caller: Reader, services: Given, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Page[TenantBody]:
    """By id, each with the number of its devices."""
    del caller
    (after,) = decode(cursor, str) or ("",)
    found = await services.provisioning.tenants(after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.tenant,), item=forms.tenant)


@router.post("/v1/tenants", status_code=201, summary="Add a tenant", responses=problems.responses(409))
async def add_tenant(form: NewTenant, caller: Writer, services: Given, response: Response) -> TenantBody:
    """409 `tenant_exists`."""
    added = await services.provisioning.add_tenant(
        tenant_id(form.id),
        form.name or "",
        retention_days=form.retention_days,
        witness=tenant_witness(services, caller, "tenant.added"),
    )
    response.headers["Location"] = f"/v1/tenants/{added.tenant}"
    response.headers["ETag"] = etag(added.version)
    return forms.tenant(added)


@router.get("/v1/tenants/{tenant_name}", summary="Show a tenant")
async def show_tenant(tenant_name: TenantPath, caller: Reader, services: Given, tagged: Tagged) -> TenantBody:
    del caller
    found = forms.tenant(await services.provisioning.tenant(_id(tenant_name)))
    tagged(found.version, also=f"{found.devices:x}")
    return found


@router.patch("/v1/tenants/{tenant_name}", summary="Change a tenant's name or retention")
async def change_tenant(
    tenant_name: TenantPath, form: TenantChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TenantBody:
    """A shorter retention removes what is older within the hour."""
    given = form.model_fields_set

    def changed(before: Tenant) -> Tenant:
        name = form.name if "name" in given and form.name is not None else before.name
        days = form.retention_days if "retention_days" in given else before.retention_days
        return replace(before, name=name, retention_days=days)

    after = await services.provisioning.change_tenant(
        _id(tenant_name), changed, expected=expected, witness=tenant_witness(services, caller, "tenant.changed")
    )
    found = forms.tenant(after)
    tagged(found.version, also=f"{found.devices:x}")
    return found


def _id(name: str) -> TenantId:
    try:
        return tenant_id(name)
    except InvalidName as error:
        raise UnknownTenant(f"there is no tenant {name[:64]}") from error
