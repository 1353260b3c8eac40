"""The command service: desk, dispatcher and timers: `python -m commands`."""

import uvloop

from commands.process import run
from core import logs, metrics, settings


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="commands")
    metrics.serve(config.metrics)
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
