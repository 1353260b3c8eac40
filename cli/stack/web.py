"""What the API of one machine is told beyond the settings every service shares: address, keys, console."""

import os
from dataclasses import dataclass
from pathlib import Path

from cli.stack.process import LOOPBACK
from cli.stack.state import DataFolder

_BUILT_CONSOLE = Path(__file__).parents[2] / "console" / "dist"


@dataclass(frozen=True, slots=True)
class Web:
    """Where the API and the console are, on `address` and `port`."""

    folder: DataFolder
    address: str
    port: int

    @property
    def url(self) -> str:
        """The URL under which this machine reaches them."""
        return f"http://{LOOPBACK}:{self.port}"

    def variables(self) -> dict[str, str]:
        """Its settings; the environment wins but for the address. Makes the folder of the signing keys."""
        self.folder.keys.mkdir(mode=0o700, exist_ok=True)
        ours = {
            "MILKRUN_IDENTITY_KEYS_DIR": str(self.folder.keys),
            "MILKRUN_NOTIFY_LINK_KEY_FILE": str(self.folder.keys.parent / "links.key"),
            "MILKRUN_CONSOLE_FOLDER": str(_BUILT_CONSOLE),
            "MILKRUN_CONSOLE_BASEMAP_FILE": str(self.folder.basemap),
        }
        chosen = {name: os.environ.get(name) or value for name, value in ours.items()}
        return chosen | {"MILKRUN_API_HOST": self.address, "MILKRUN_API_PORT": str(self.port)}
