"""`python -m tests.shadow.aws.loopback`: ministack on loopback alone; its MQTT listener would open on every address."""

import asyncio
import runpy
import sys
from typing import Any

_start_server = asyncio.start_server


async def _on_loopback(serve: Any, host: Any = None, port: Any = None, **more: Any) -> asyncio.Server:
    return await _start_server(serve, "127.0.0.1" if host else None, port, **more)


if __name__ == "__main__":
    asyncio.start_server = _on_loopback  # type: ignore[assignment]
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")
