"""What a subscription wants to hear of, and the judgement of each event by it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from core.errors import Invalid

_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_MOST_LABELS = 16

type Lon = Annotated[float, msgspec.Meta(ge=-180, le=180)]
type Lat = Annotated[float, msgspec.Meta(ge=-90, le=90)]
type Labels = Mapping[str, Mapping[str, object]]
"""Labels by device, as they are now."""


class InvalidFilter(Invalid):
    """A filter that says nothing we can hold an event against; the message names the part."""

    code = "invalid_filter"


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts that are given must all hold; an empty part is not given. `bbox` is west, south, east, north in degrees."""

    devices: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()
    labels: dict[str, str] = {}
    bbox: tuple[Lon, Lat, Lon, Lat] | None = None

    def __post_init__(self) -> None:
        for name in self.devices:
            if not _DEVICE.match(name):
                raise InvalidFilter(f"devices: {name[:80]!r} is no device name")
        if len(self.labels) > _MOST_LABELS:
            raise InvalidFilter(f"labels: {len(self.labels)} are too many, {_MOST_LABELS} are allowed")
        if self.bbox is not None and self.bbox[1] > self.bbox[3]:
            raise InvalidFilter("bbox: its south lies north of its north; it is written west, south, east, north")

    @property
    def key(self) -> bytes:
        """The same for filters that mean the same."""
        return msgspec.json.encode((sorted(set(self.devices)), sorted(self.labels.items()), self.bbox))


ALL = Filter()


class _Facts(msgspec.Struct, frozen=True, gc=False):
    device: str | None = None
    site: str | None = None
    recipient: str | None = None
    lat: float | None = None
    lon: float | None = None
    labels: dict[str, object] | None = None


class Peek(msgspec.Struct, frozen=True, gc=False):
    """The little of an event that filters and conflation look at."""

    type: str
    data: _Facts


peek = msgspec.json.Decoder(Peek).decode


class Selection:
    """A filter at work on one feed. It remembers which vehicles are known to be outside its box.

    `allowed` None: every device of the tenant; else those a site may see now. `sites` not None: of what belongs to a
    site only what belongs to one of these. `recipient` not None: only what is told to him. `labels` is kept true by the
    hub.
    """

    def __init__(
        self,
        wanted: Filter,
        allowed: frozenset[str] | None,
        labels: Labels,
        *,
        sites: frozenset[str] | None = None,
        recipient: str | None = None,
    ) -> None:
        self.wanted = wanted
        self.sites = sites
        self.recipient = recipient
        asked = frozenset(wanted.devices) if wanted.devices else None
        self.devices = asked if allowed is None else allowed if asked is None else asked & allowed
        self._labels = labels
        self._outside: set[str] = set()

    @property
    def is_everything(self) -> bool:
        is_theirs = self.devices is None and self.sites is None and self.recipient is None
        return is_theirs and not self.wanted.labels and self.wanted.bbox is None

    def again(self) -> "Selection":
        """The same filter without a memory, for a replay."""
        fresh = Selection(self.wanted, None, self._labels, sites=self.sites, recipient=self.recipient)
        fresh.devices = self.devices
        return fresh

    def passes(self, event: Peek) -> bool:
        """Whether the event is told. One call an event, in order, for it moves the memory of the box."""
        facts = event.data
        is_foreign = self.sites is not None and facts.site is not None and facts.site not in self.sites
        is_foreign = is_foreign or self.recipient not in {None, facts.recipient}
        if is_foreign or (self.devices is not None and facts.device not in self.devices):
            return False
        if self.wanted.labels:
            before = self._has_labels(self._labels.get(facts.device or ""))
            if event.type == "device":
                return before or self._has_labels(facts.labels)
            if not before:
                return False
        if self.wanted.bbox is None or facts.device is None or facts.lat is None or facts.lon is None:
            return True
        if self._is_inside(facts.lat, facts.lon):
            self._outside.discard(facts.device)
            return True
        # The first fix outside is told, so that the vehicle can be taken off the map.
        is_leaving = facts.device not in self._outside
        self._outside.add(facts.device)
        return is_leaving

    def reveal(self, told: bytes) -> bytes:
        """An event or a line of a snapshot, without what it says of other sites."""
        return told if self.sites is None else msgspec.json.encode(_own(msgspec.json.decode(told), self.sites))

    def shows(self, device: str | None, labels: Mapping[str, object], lat: float | None, lon: float | None) -> bool:
        """Whether a snapshot has this vehicle. The box forgets nothing and learns nothing by it."""
        if self.devices is not None and device not in self.devices:
            return False
        if self.wanted.labels and not self._has_labels(labels):
            return False
        return self.wanted.bbox is None or (lat is not None and lon is not None and self._is_inside(lat, lon))

    def place(self, device: str | None, lat: float | None, lon: float | None) -> None:
        """Remember where a snapshot says a vehicle is."""
        if self.wanted.bbox is not None and (lat is None or lon is None or not self._is_inside(lat, lon)):
            self._outside.add(device or "")

    def _has_labels(self, labels: Mapping[str, object] | None) -> bool:
        return labels is not None and all(labels.get(key) == value for key, value in self.wanted.labels.items())

    def _is_inside(self, lat: float, lon: float) -> bool:
        assert self.wanted.bbox is not None
        west, south, east, north = self.wanted.bbox
        if not south <= lat <= north:
            return False
        return west <= lon <= east if west <= east else lon >= west or lon <= east


_OF_THE_ROUND = frozenset({"code", "route"})


def _own(told: Any, sites: frozenset[str]) -> Any:
    """Of every list of what belongs to sites those of `sites`, each with how many there are before it."""
    if isinstance(told, dict):
        return {key: None if key in _OF_THE_ROUND else _own(value, sites) for key, value in told.items()}
    if isinstance(told, list) and told and isinstance(told[0], dict) and "site" in told[0]:
        return [{**each, "before": n} for n, each in enumerate(told) if each["site"] in sites]
    return told
