"""Which channels there are, who may follow them, and what a site is shown of each."""

import enum
import re
from dataclasses import dataclass

from api.access import Scope
from api.live.errors import UnknownChannel


class View(enum.Enum):
    """What the role `site` is shown of a channel; OWN holds for every role."""

    DEVICES = "devices"  # events of the devices on their way to it
    SITES = "sites"  # events about the site itself
    OWN = "own"  # what stands in the follower's own inbox
    TRIP = "trip"  # while the trip is on its way to it: its own stops


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel. `is_of_one`: there is one for each trip, called `trip:{id}`.

    `scope` is needed beside `live:read`.
    """

    name: str
    view: View
    scope: Scope | None = None
    is_of_one: bool = False

    @property
    def pattern(self) -> str:
        return f"{self.name}:[A-Za-z0-9_-]{{1,64}}" if self.is_of_one else self.name


# A further channel is a further line; what is told on it stands in api/live/news.py.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("vehicles", View.DEVICES),
        Kind("events", View.DEVICES),
        Kind("trip", View.TRIP, Scope.TRIPS_READ, is_of_one=True),
        Kind("alerts", View.SITES, Scope.ALERTS_READ),
        Kind("notices", View.OWN, Scope.ALERTS_READ),
        Kind("commands", View.DEVICES, Scope.COMMANDS_READ),
    )
}

PATTERN = f"^({'|'.join(kind.pattern for kind in KINDS.values())})$"
_is_channel = re.compile(PATTERN[:-1] + r"\Z").match


def kind_of(channel: str) -> Kind:
    """Raises UnknownChannel with what there is."""
    if not _is_channel(channel):
        there = ", ".join(f"{kind.name}:{{id}}" if kind.is_of_one else kind.name for kind in KINDS.values())
        raise UnknownChannel(f"channel {channel[:40]!r} is not known; there are {there}")
    return KINDS[channel.partition(":")[0]]


def one_of(channel: str) -> str | None:
    """The id of the trip whose channel it is."""
    return channel.partition(":")[2] or None
