import sys

from rich.console import Console

from bench import commands, console, eta, growth, idle, ingest, live, maps, rest, revoke, shadow
from core import logs

BENCHMARKS = {
    "ingest": ingest.main,
    "growth": growth.main,
    "idle": idle.main,
    "revoke": revoke.main,
    "shadow": shadow.main,
    "commands": commands.main,
    "live": live.main,
    "rest": rest.main,
    "console": console.main,
    "eta": eta.main,
    "maps": maps.main,
}


def main() -> None:
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        raise SystemExit(f"no benchmark is called {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    logs.configure(level="error", json=False, process="bench")
    for name in chosen:
        BENCHMARKS[name](Console(highlight=False, soft_wrap=True))


if __name__ == "__main__":
    main()
