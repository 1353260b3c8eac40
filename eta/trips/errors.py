"""What sites, routes and trips refuse, each with the code that clients rely on."""

from core.errors import Conflict, Invalid, NotFound


class SiteNotFound(NotFound):
    """No such site in this tenant; a site of another tenant reads the same."""

    code = "site_not_found"


class RouteNotFound(NotFound):
    """No such route in this tenant."""

    code = "route_not_found"


class TripNotFound(NotFound):
    """No such trip in this tenant, or none that the caller may see."""

    code = "trip_not_found"


class StopNotFound(NotFound):
    """The trip has no such stop."""

    code = "stop_not_found"


class DeviceNotFound(NotFound):
    """No such device in this tenant."""

    code = "device_not_found"


class InvalidSite(Invalid):
    """A site's position, area, windows, contacts or labels are outside what is allowed."""

    code = "invalid_site"


class InvalidRoute(Invalid):
    """A route's stops, weekdays, start or line are outside what is allowed."""

    code = "invalid_route"


class InvalidTrip(Invalid):
    """A trip's day, start or stops are outside what is allowed."""

    code = "invalid_trip"


class InvalidImport(Invalid):
    """The file cannot be read as a whole; a line that is wrong by itself is reported instead."""

    code = "invalid_import"


class CodeTaken(Conflict):
    """Another one of the tenant's has this code."""

    code = "code_taken"


class SiteInUse(Conflict):
    """The site is a stop of a route in use, and cannot be archived."""

    code = "site_in_use"


class TripExists(Conflict):
    """The route's trip of that day is there already."""

    code = "trip_exists"


class DeviceBusy(Conflict):
    """The device is under way on another trip."""

    code = "device_busy"


class MoveNotAllowed(Conflict):
    """The trip's or the stop's state does not allow this."""

    code = "move_not_allowed"


class VersionMoved(Conflict):
    """Somebody changed it since the version the caller has seen."""

    kind = "precondition_failed"
    code = "precondition_failed"
