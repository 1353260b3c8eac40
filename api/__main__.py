"""The API process: `python -m api`."""

import sys

import uvloop

from api.process import CannotListen, run
from core import logs, metrics, settings


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="api")
    metrics.serve(config.metrics)
    try:
        uvloop.run(run(config))
    except CannotListen as error:
        sys.exit(f"api: {error}")


if __name__ == "__main__":
    main()
