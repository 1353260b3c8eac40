"""How the embedded broker is prepared and started; the counterpart of `broker.mosquitto.prepare` and `command`."""

import sys
from dataclasses import asdict
from pathlib import Path

import msgspec

from broker.embedded import LACKS
from broker.mosquitto import MosquittoConfig

_FILE = "embedded.json"


def prepare(config: MosquittoConfig) -> None:
    """Write what the process reads."""
    config.folder.mkdir(parents=True, exist_ok=True)
    (config.folder / _FILE).write_bytes(msgspec.json.encode(asdict(config), enc_hook=str))


def command(config: MosquittoConfig) -> list[str]:
    """The argument list to start it with, after `prepare`."""
    return [sys.executable, "-P", "-m", "broker.embedded", str(config.folder / _FILE)]


def read(file: Path) -> MosquittoConfig:
    """The configuration that `prepare` wrote."""
    return msgspec.json.decode(file.read_bytes(), type=MosquittoConfig, dec_hook=lambda kind, value: kind(value))


def note() -> str:
    """What to tell the user of a machine that runs it."""
    return "The embedded broker (amqtt) runs in place of Mosquitto. It lacks: " + "; ".join(LACKS) + "."
