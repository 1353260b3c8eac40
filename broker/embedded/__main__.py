import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from broker.embedded.launch import note, read
from broker.embedded.server import EmbeddedBroker
from core.worker import until_stopped


async def main() -> None:
    config = read(Path(sys.argv[1]))
    sys.stderr.write(note() + "\n")
    with config.log_file.open("a") as log:
        await until_stopped(EmbeddedBroker(config, log).run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    asyncio.run(main(), loop_factory=uvloop.new_event_loop)
