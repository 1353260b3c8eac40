"""The shadow service at its desk: `python -m shadow`."""

import uvloop

from core import logs, metrics, settings
from shadow.process import run


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="shadow")
    metrics.serve(config.metrics)
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
