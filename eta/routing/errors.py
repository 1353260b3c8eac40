"""Why an engine did not answer. The ladder goes on with the next one and says so."""

from core.errors import Invalid, NotFound, Unavailable


class EngineDown(Unavailable):
    """The engine cannot be reached, or answered that it cannot work now."""

    code = "map_engine_down"


class NotReady(Unavailable):
    """The engine is still being made ready, or never will be; the message says which. Nobody's failure."""

    code = "map_engine_not_ready"


class EngineSlow(Unavailable):
    """The engine did not answer in time."""

    code = "map_engine_slow"


class EngineWrong(Unavailable):
    """The engine answered with what cannot be: no JSON, a negative or missing number, another number of legs."""

    code = "map_engine_wrong"


class OverQuota(Unavailable):
    """The engine's owner refuses more calls for now. `retry_after_s` is how long, where it was said."""

    code = "map_engine_over_quota"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OverBudget(Unavailable):
    """The calls this trip, tenant or day may make are made."""

    code = "map_budget_spent"


class NotOffered(Unavailable):
    """The engine does not do this, or may not be used for it."""

    code = "map_not_offered"


class NoRoad(NotFound):
    """No road joins the places, or none is near one of them. Asking again does not help."""

    code = "no_road"


class MapUnbuildable(Invalid):
    """No road graph can be made of this file."""

    code = "map_unbuildable"
