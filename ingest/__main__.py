"""The ingest process: `python -m ingest`."""

import uvloop

from core import logs, metrics, settings
from ingest.process import run


def main() -> None:
    config = settings.load()
    logs.configure(level=config.log.level, json=config.log.json_lines, process="ingest")
    metrics.serve(config.metrics)
    uvloop.run(run(config))


if __name__ == "__main__":
    main()
