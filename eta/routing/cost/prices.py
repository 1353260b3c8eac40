"""The price of map calls, from `prices.toml`: data with a date, not code."""

import tomllib
from dataclasses import dataclass
from datetime import date
from importlib import resources
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Prices:
    """`tiers`: (calls of a month up to, price of a thousand), ascending; the last one reaches to infinity."""

    as_of: date
    engine: str
    source: str
    currency: str
    free_per_month: int
    tiers: tuple[tuple[float, float], ...]

    def of_month(self, calls: int) -> float:
        """What this many calls in one calendar month cost."""
        bounds = [(float(self.free_per_month), 0.0), *self.tiers]
        return sum(
            max(min(calls, to) - since, 0.0) * per_1000 / 1000.0 for (since, _), (to, per_1000) in pairwise(bounds)
        )


def load() -> Prices:
    """The list that ships with Milkrun. Raises ValueError when it makes no sense."""
    text = (resources.files("eta.routing.cost") / "prices.toml").read_text(encoding="utf-8")
    return parsed(text)


def parsed(text: str) -> Prices:
    """Raises ValueError with what is wrong."""
    table = tomllib.loads(text)
    tiers = tuple((float(tier.get("calls", "inf")), float(tier["per_1000"])) for tier in table["tier"])
    ends = [float(table["free_per_month"]), *(to for to, _ in tiers)]
    if ends[-1] != float("inf") or any(b <= a for a, b in pairwise(ends)) or any(price < 0 for _, price in tiers):
        raise ValueError("prices.toml: tiers must ascend from the free calls, and the last one has no end")
    return Prices(
        date.fromisoformat(table["date"]),
        table["engine"],
        table["source"],
        table["currency"],
        int(table["free_per_month"]),
        tiers,
    )
