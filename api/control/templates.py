"""Templates over HTTP: what a tenant's people may send."""

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.control import forms
from api.control.forms import NewTemplate, TemplateBody, TemplateChange
from api.control.given import Reader, TemplateId, Writer, witness
from api.http import problems
from api.http.etags import Expected, Tagged, etag
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode, page
from api.http.strict import StrictRoute
from api.services import Given
from commands.contract.template import Template

router = APIRouter(tags=["commands"], route_class=StrictRoute)


@router.get("/v1/command-templates", summary="List command templates")
async def list_command_templates(
    caller: Reader,
    services: Given,
    deprecated: Annotated[bool | None, Query(description="Only those out of use, or only those in use")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Page[TemplateBody]:
    """By id."""
    (after,) = decode(cursor, str) or ("",)
    found = await services.commands.templates.listed(caller.tenant, deprecated=deprecated, after=after, limit=limit + 1)
    return page(found, limit, key=lambda each: (each.id,), item=forms.template)


@router.post(
    "/v1/command-templates", status_code=201, summary="Add a command template", responses=problems.responses(409)
)
async def add_command_template(form: NewTemplate, caller: Writer, services: Given, response: Response) -> TemplateBody:
    made = await services.commands.templates.add(
        caller.tenant, form.template(services.clock()), witness=witness(services, caller, "command_template.added")
    )
    response.headers["Location"] = f"/v1/command-templates/{made.id}"
    response.headers["ETag"] = etag(made.version)
    return forms.template(made)


@router.get("/v1/command-templates/{template}", summary="Show a command template")
async def show_command_template(template: TemplateId, caller: Reader, services: Given, tagged: Tagged) -> TemplateBody:
    found = await services.commands.templates.get(caller.tenant, template)
    tagged(found.version)
    return forms.template(found)


@router.patch(
    "/v1/command-templates/{template}", summary="Change a command template", responses=problems.responses(409)
)
async def change_command_template(
    template: TemplateId, form: TemplateChange, caller: Writer, services: Given, expected: Expected, tagged: Tagged
) -> TemplateBody:
    """What was sent before keeps what it was sent with."""

    def change(before: Template) -> Template:
        given = {name: value for name, value in form.model_dump().items() if value is not None}
        if form.parameters is not None:
            given["parameters"] = tuple(each.parameter() for each in form.parameters)
        if "deprecated" in given:
            given["is_deprecated"] = given.pop("deprecated")
        return dataclasses.replace(before, **given)

    after = await services.commands.templates.change(
        caller.tenant,
        template,
        change,
        expected=expected,
        witness=witness(services, caller, "command_template.changed"),
    )
    tagged(after.version)
    return forms.template(after)
