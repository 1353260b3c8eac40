"""The notify service: `python -m notify`."""

import uvloop

from core import logs, metrics, settings
from notify.process import run


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="notify")
    metrics.serve(config.metrics)
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
