"""How right a tenant's own arrival times were."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.access import Scope
from api.http.security import Caller, needs
from api.http.strict import StrictRoute
from api.http.times import Day
from api.services import Given, Services
from api.trips.given import Reference
from eta.accuracy.figures import Report

router = APIRouter(tags=["trips"], route_class=StrictRoute)

LATELY_DAYS = 30
# Both: what is known of all trips is not for a site, which sees the one that is on its way to it.
WholeTenant = Annotated[Caller, needs(Scope.TRIPS_READ, Scope.SITES_READ)]
FromDay = Annotated[Day | None, Query(alias="from", description="First day; default: 29 days before `to`")]
ToDay = Annotated[Day | None, Query(alias="to", description="Last day, included; default: today (UTC)")]


class HorizonBody(BaseModel):
    """Estimates made so many minutes before the arrival. Error = arrival - estimate: late is positive."""

    minutes: str = Field(examples=["5-10"])
    predictions: int
    mae_s: float | None
    bias_s: float | None
    mape_pct: float | None = Field(description="Of the time that was left; arrivals at least a minute ahead")
    within_2_min_pct: float | None
    band_coverage_pct: float | None = Field(description="Arrivals between p10 and p90; 80 is meant")


class AlertFiguresBody(BaseModel):
    """Alerts of one kind. The lead is the time from the alert to the arrival; its error is against the promise."""

    kind: str = Field(examples=["10min"])
    fired: int
    lead_mae_s: float | None
    lead_bias_s: float | None
    on_time_pct: float | None = Field(description="Within 2 minutes of the promise")
    late_pct: float | None = Field(description="Less than half the promised time was left")
    early_pct: float | None = Field(description="More than one and a half times the promised time was left")
    missed_pct: float = Field(description="Of the stops reached that could have been promised so much: no alert")
    repeated: int


class DayBody(BaseModel):
    """The trips of one day."""

    day: date
    trips: int
    arrivals: int
    mae_5_to_10_min_s: float
    benchmark_score: float
    band_coverage_pct: float


class AccuracyBody(BaseModel):
    """What was said of the trips of these days, against when the truck was really there. Of no trips, all is 0."""

    since: date = Field(alias="from")
    until: date = Field(alias="to")
    trips: int
    arrivals: int
    predictions: int
    mae_5_to_10_min_s: float = Field(description="Mean error of estimates made 5 to 10 minutes before the arrival")
    benchmark_score: float = Field(description="The ETA Accuracy Benchmark, 0 to 100")
    benchmark: dict[str, float] = Field(description="The same by minutes ahead", examples=[{"0-3 min": 96.2}])
    band_coverage_pct: float
    horizons: list[HorizonBody]
    alerts: list[AlertFiguresBody]
    methods: dict[str, int] = Field(description="Estimates by what they rested on", examples=[{"history": 1200}])
    map_calls: int
    map_calls_per_trip: float
    days: list[DayBody] = Field(description="Days with trips, the oldest first")


@router.get("/v1/eta/accuracy", summary="Accuracy of arrival times")
async def show_accuracy(
    caller: WholeTenant,
    services: Given,
    since: FromDay = None,
    until: ToDay = None,
    route: Annotated[Reference | None, Query(description="Only this route's trips, by its id or code")] = None,
) -> AccuracyBody:
    """Trips are judged half an hour after their end. 422 `invalid_days` for more than 366 days."""
    first, last = days_of(services, since, until)
    of_route = None if route is None else (await services.places.route(caller.tenant, route)).id
    found = await services.accuracy.report(caller.tenant, first, last, of_route)
    return AccuracyBody(
        **{"from": first, "to": last},
        **{name: getattr(found.total, name) for name in Report.__slots__ if name not in {"horizons", "alerts"}},
        horizons=[_row(HorizonBody, row, row.predictions) for row in found.total.horizons],
        alerts=[_row(AlertFiguresBody, row, row.fired) for row in found.total.alerts],
        days=[
            DayBody(
                day=day,
                trips=each.trips,
                arrivals=each.arrivals,
                mae_5_to_10_min_s=each.mae_5_to_10_min_s,
                benchmark_score=each.benchmark_score,
                band_coverage_pct=each.band_coverage_pct,
            )
            for day, each in found.days.items()
        ],
    )


def days_of(services: Services, since: date | None, until: date | None) -> tuple[date, date]:
    """The days asked for, or the last thirty."""
    last = until or services.clock().date()
    return since or last - timedelta(days=min(LATELY_DAYS - 1, last.toordinal() - 1)), last


def _row[B: BaseModel](body: type[B], row: object, count: int) -> B:
    """A mean of nothing is no number; a count of nothing is."""
    facts = {name: getattr(row, name) for name in body.model_fields}
    kept = {"kind", "minutes", "fired", "predictions", "missed_pct", "repeated"}
    return body(**{name: value if count or name in kept else None for name, value in facts.items()})
