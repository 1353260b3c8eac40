"""How figures are told: a median with its spread over runs."""

import platform
import statistics
from collections.abc import Sequence
from pathlib import Path


def spread(values: Sequence[float], unit: str = "") -> str:
    """`median [least to most]` with a unit."""
    middle = statistics.median(values)
    return f"{middle:,.0f}{unit} [{min(values):,.0f} to {max(values):,.0f}]"


def machine() -> str:
    """CPU, cores and kernel of this machine, for a figure means little without them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{len(names) or '?'} x {names[0] if names else platform.processor()}, {platform.system()} {platform.release()}"
    )
