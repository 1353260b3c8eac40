"""The arrival-time service: `python -m eta`."""

import uvloop

from core import logs, metrics, settings
from eta.process import run


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="eta")
    metrics.serve(config.metrics)
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
