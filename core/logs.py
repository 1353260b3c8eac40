"""Structured logs: a JSON object a line (or colours on a terminal), with process, and tenant and thing where known."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import structlog


class _Stderr:
    """Standard error as it is when a line is written: loggers live on where it was replaced for a while and closed."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(*, level: str, json: bool, process: str) -> None:
    """Set up logging for this process; called once by its `__main__`."""
    stderr = cast("TextIO", _Stderr())
    renderer = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=stderr),
        # A line is rare and a configuration may follow: what a module bound at import must not outlive it.
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, stream=stderr, force=True)


@contextmanager
def about(thing: str | None) -> Iterator[None]:
    """Every line logged inside says which tenant and thing it is about."""
    if thing is None:
        yield
        return
    with structlog.contextvars.bound_contextvars(tenant=thing.partition(":")[0], thing=thing):
        yield
