"""A list of devices as a CSV file, read line by line so that one bad line does not cost the good ones."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import Invalid
from provisioning.errors import InvalidDevice, InvalidManifest
from provisioning.model import NewDevice, labels_of, new_device

_MAX_LINES = 100_000
_DEVICE, _TYPE, _LABELS = "device", "type", "labels"


@dataclass(frozen=True, slots=True)
class BadLine:
    """`line` counts from 1, the header included, as an editor shows it."""

    line: int
    said: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file asks for. `line_of` tells where each device stands."""

    devices: list[NewDevice] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    line_of: dict[str, int] = field(default_factory=dict)


def read(content: bytes) -> Manifest:
    """The devices of a CSV file and the lines that cannot be taken. Raises InvalidManifest when none can be read.

    Columns: `device`; `type` (optional, default tracker); `labels` (optional, `key=value;key=value`); every other
    column is a label called as its header, empty cells left out. Separated by commas or semicolons, UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"not UTF-8 at byte {error.start}: save the list as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    rows = _rows(text, delimiter)
    _, header = next(rows, (1, ""))
    columns = [] if isinstance(header, str) else [name.strip() for name in header]
    if _DEVICE not in columns or "" in columns or len(set(columns)) != len(columns):
        raise InvalidManifest(
            f"first line {first.strip()[:200]!r} names no usable columns: 'device' is needed, 'type' and 'labels' are "
            "known, every other column is a label; each has a name of its own"
        )
    manifest = Manifest()
    for line, cells in rows:
        if line > _MAX_LINES:
            raise InvalidManifest(f"more than {_MAX_LINES} lines: split the list")
        _take(manifest, line, columns, cells)
    return manifest


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Number and cells of each line with something on it; a text in place of cells says why there are none."""
    # Line by line, not as one stream: an unclosed quote must spoil its own line and not swallow the rest.
    for line, raw in enumerate(io.StringIO(text, newline=None), start=1):
        if not raw.strip():
            continue
        try:
            yield line, next(csv.reader([raw], delimiter=delimiter, strict=True))
        except csv.Error as error:
            yield line, f"no valid CSV ({error}): quotes come in pairs, and a quote inside quotes is doubled"


def _take(manifest: Manifest, line: int, columns: Sequence[str], cells: list[str] | str) -> None:
    if isinstance(cells, str):
        manifest.bad.append(BadLine(line, cells))
        return
    if len(cells) != len(columns):
        manifest.bad.append(BadLine(line, f"{len(cells)} cells where the first line has {len(columns)}"))
        return
    try:
        device = _device(dict(zip(columns, (cell.strip() for cell in cells), strict=True)))
    except Invalid as error:
        manifest.bad.append(BadLine(line, str(error)))
        return
    if earlier := manifest.line_of.get(device.device):
        manifest.bad.append(BadLine(line, f"device {device.device} stands on line {earlier} already"))
        return
    manifest.line_of[device.device] = line
    manifest.devices.append(device)


def _device(cells: Mapping[str, str]) -> NewDevice:
    labels = labels_of(pair.strip() for pair in cells.get(_LABELS, "").split(";") if pair.strip())
    for name, value in cells.items():
        if name in {_DEVICE, _TYPE, _LABELS} or not value:
            continue
        if name in labels:
            raise InvalidDevice(f"label {name} is given twice: by its column and in 'labels'")
        labels[name] = value
    return new_device(cells[_DEVICE], cells.get(_TYPE) or "tracker", labels)
