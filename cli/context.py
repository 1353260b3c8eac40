"""Where a command finds the stack it works on: a running one in the data folder, or what the environment names."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.stack.errors import NotRunning
from cli.stack.state import DataFolder
from core import settings
from core.settings import Settings

DEFAULT_DATA = ".milkrun"


@dataclass(frozen=True, slots=True)
class Context:
    """Settings of the stack, its data folder, and the folder of its certificate authority."""

    settings: Settings
    data: Path
    ca_dir: Path


def data_folder(data: Path | None) -> Path:
    """The folder of --data, else MILKRUN_DATA, else `.milkrun`."""
    return data or Path(os.environ.get("MILKRUN_DATA") or DEFAULT_DATA)


def load(data: Path | None) -> Context:
    """The stack that runs in `data`; MILKRUN_* variables win over what it says.

    Raises NotRunning when none runs there and the environment names no database, and InvalidSettings.
    """
    folder = DataFolder(data_folder(data))
    with _defaults(folder.environment()):
        loaded = settings.load()
    if not loaded.database.url:
        raise NotRunning(
            f"no stack runs in {folder.path}: start it with `milkrun up --data {folder.path}`, "
            "or name a database with MILKRUN_DATABASE_URL"
        )
    is_named = "ca_dir" in loaded.provisioning.model_fields_set
    return Context(settings=loaded, data=folder.path, ca_dir=loaded.provisioning.ca_dir if is_named else folder.ca)


@contextmanager
def _defaults(values: Mapping[str, str]) -> Iterator[None]:
    """The environment with `values` where it has none of its own, for the time of reading settings."""
    added = {key: value for key, value in values.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]
