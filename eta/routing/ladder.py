"""The one way to a road: the best engine that answers, within time, money and terms, and the label of what it was."""

from collections.abc import Sequence

from eta.routing.model import Asker, LatLon, Nearest, Purpose, Snapshot, Traffic


class Ladder:
    """Engines from best to last. Nothing here raises for an engine's sake; a caller's trip goes on in any case."""

    async def snapshot(self, asker: Asker, points: Sequence[LatLon], purpose: Purpose = Purpose.SNAPSHOT) -> Snapshot:
        """The road through two or more points. The straight line, labelled so, where no engine may or can answer."""
        raise NotImplementedError

    async def traffic(self, asker: Asker, points: Sequence[LatLon]) -> Traffic | None:
        """The durations of now, or None: no engine for it, over the budget, or not answering."""
        raise NotImplementedError

    async def nearest(self, asker: Asker, point: LatLon) -> Nearest | None:
        """The road beside a point, or None."""
        raise NotImplementedError
