"""What maps were asked for a tenant's trips, and what that cost."""

from datetime import date

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.http.strict import StrictRoute
from api.services import Given
from api.trips.accuracy import FromDay, ToDay, WholeTenant, days_of

router = APIRouter(tags=["trips"], route_class=StrictRoute)


class EngineUseBody(BaseModel):
    """Calls of one engine for one purpose."""

    engine: str = Field(examples=["osrm-local"])
    purpose: str = Field(examples=["snapshot"])
    calls: int
    failed: int = Field(description="Of these, not answered or not usefully")
    refused: int = Field(description="Not made, since the budget was spent")
    seconds: float = Field(description="All calls together")


class MethodBody(BaseModel):
    """One way to keep arrival times up to date for the same trips, at the price of the list."""

    name: str = Field(examples=["every_5_min"])
    what: str
    calls: int
    cost: float


class PricesBody(BaseModel):
    as_of: date
    engine: str
    source: str
    currency: str = Field(examples=["USD"])
    free_per_month: int


class MapsBody(BaseModel):
    """Days are UTC; trips are those that have ended."""

    since: date = Field(alias="from")
    until: date = Field(alias="to")
    trips: int
    hours: float = Field(description="They were under way, together")
    calls: int
    calls_per_trip: float
    billed_calls: int
    billed_cost: float
    uses: list[EngineUseBody]
    methods: list[MethodBody] = Field(description="The first is what was really billed")
    prices: PricesBody


@router.get("/v1/maps/report", summary="Calls of maps and their cost")
async def report_maps(caller: WholeTenant, services: Given, since: FromDay = None, until: ToDay = None) -> MapsBody:
    """Each month is priced for itself, free calls included. 422 `invalid_days` for more than 366 days."""
    first, last = days_of(services, since, until)
    found = await services.maps.report(caller.tenant, first, last)
    return MapsBody(
        **{"from": first, "to": last},
        trips=found.trips,
        hours=found.hours,
        calls=found.calls,
        calls_per_trip=found.calls_per_trip,
        billed_calls=found.billed_calls,
        billed_cost=found.billed_cost,
        uses=[EngineUseBody(**{name: getattr(use, name) for name in EngineUseBody.model_fields}) for use in found.uses],
        methods=[
            MethodBody(**{name: getattr(each, name) for name in MethodBody.model_fields}) for each in found.methods
        ],
        prices=PricesBody(**{name: getattr(found.prices, name) for name in PricesBody.model_fields}),
    )
