"""Processes of ours that die by SIGKILL right before a chosen step, and the points at which one can die.

A step is a statement, BEGIN or COMMIT to PostgreSQL, a command to Redis, or a request to a server elsewhere, named by
what is said. A point is a step and the how-many-th of its name it is in the life of the process: so it is the same in
each run, in whatever order the tasks of a process come to theirs.

`python -m tests.dying` has imported everything once and forks the processes it is asked for.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpcore
import psycopg
import redis.asyncio
import redis.asyncio.client
import uvloop
from psycopg import BaseConnection

import eta.process
import notify.process
from core import logs, settings
from core.bus import Bus, stream_key
from core.db import Database
from core.outbox import Relay

_KILLED = "killed"
_LEAVE_SOMETHING = {"COMMIT", "POST", "XREADGROUP", "XCLAIM", "XADD", "XACK", "EVAL"}
_TIMES = 5
_SERVICES: Mapping[str, Callable[[settings.Settings], Awaitable[None]]] = {
    "eta": eta.process.run,
    "notify": notify.process.run,
}


class Point(NamedTuple):
    """Right before the `nth` step of this name."""

    name: str
    nth: int

    @property
    def is_tried(self) -> bool:
        """What leaves something behind is tried the first five times, one for each entry and delivery that comes along;
        what dies with its transaction once.
        """
        return self.nth <= (_TIMES if self.name.split()[0] in _LEAVE_SOMETHING else 1)


# --- in the process that dies -----------------------------------------------------------------------------------------


class _Steps:
    """Counts what the process says to others, writes it down, and ends it at its point."""

    def __init__(self, log: int, die_at: Point | None) -> None:
        self._log = log
        self._die_at = die_at
        self._counted: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        name = " ".join(name.split())  # a line of the log, also where it is a script
        if not name:
            return
        self._counted[name] += 1
        nth = self._counted[name]
        os.write(self._log, f"{name}\t{nth}\n".encode())
        if self._die_at == (name, nth):
            os.write(self._log, f"{_KILLED}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Stand before each door of the process."""
        written: dict[int, str] = {}
        """by connection: the last statement of its transaction that came to anything"""
        execute, command = psycopg.AsyncCursor.execute, BaseConnection._exec_command
        to_redis, pipeline = redis.asyncio.Redis.execute_command, redis.asyncio.client.Pipeline.execute
        request, request_in_thread = httpcore.AsyncConnectionPool.handle_async_request, httpcore.ConnectionPool

        async def on_execute(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = " ".join((query if isinstance(query, str) else query.as_string(None)).split())
            self(text)  # empty: the pool's look whether a connection is alive
            done = await execute(cursor, query, *args, **kwargs)
            if done.rowcount > 0 and not text.startswith("BEGIN"):
                written[id(cursor.connection)] = text
            return done

        def on_command(conn: Any, text: Any, *args: Any, **kwargs: Any) -> Any:
            word = text.decode() if isinstance(text, bytes) else text
            if word == "COMMIT":
                last = written.pop(id(conn), None)
                word = "END of nothing" if last is None else f"COMMIT after {last}"
            self(word)
            return (yield from command(conn, text, *args, **kwargs))

        async def on_redis(client: Any, *args: Any, **options: Any) -> Any:
            self(f"{args[0]} {args[1] if len(args) > 1 else ''}")
            return await to_redis(client, *args, **options)

        async def on_pipeline(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            commands = [each[0] for each in pipe.command_stack]
            self("; ".join(f"{each[0]} {each[1]}" for each in commands))
            return await pipeline(pipe, *args, **kwargs)

        async def on_request(pool: Any, asked: Any) -> Any:
            self(f"{asked.method.decode()} {asked.url.scheme.decode()} {asked.url.target.decode()}")
            return await request(pool, asked)

        in_thread = request_in_thread.handle_request

        def on_request_in_thread(pool: Any, asked: Any) -> Any:
            self(f"{asked.method.decode()} {asked.url.target.decode()}")
            return in_thread(pool, asked)

        psycopg.AsyncCursor.execute = on_execute  # type: ignore[method-assign]
        BaseConnection._exec_command = on_command  # type: ignore[method-assign]
        redis.asyncio.Redis.execute_command = on_redis  # type: ignore[method-assign]
        redis.asyncio.client.Pipeline.execute = on_pipeline  # type: ignore[method-assign]
        httpcore.AsyncConnectionPool.handle_async_request = on_request  # type: ignore[method-assign]
        httpcore.ConnectionPool.handle_request = on_request_in_thread  # type: ignore[method-assign]


async def _serve(service: str, config: settings.Settings) -> None:
    """The service, and beside it the relay, which on a real machine is in a process that dies for itself."""
    bus = Bus(config.redis, config.bus)
    async with Database(config.database.operator_url, pool_size=2) as database, asyncio.TaskGroup() as tasks:
        tasks.create_task(Relay(database, bus, every_s=3600.0).run())
        await _SERVICES[service](config)


def _live(order: Mapping[str, Any]) -> None:
    """All there is of the forked process."""
    os.environ.update(order["env"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    errors = os.open(order["log"] + ".stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(errors, stream)
    if order["is_watched"]:
        _Steps(log, Point(*order["die_at"]) if order["die_at"] else None).watch()
    config = settings.load()
    logs.configure(level="warning", json=False, process=order["service"])
    uvloop.run(_serve(order["service"], config))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need nobody to bury them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _live(json.loads(line))
            except BaseException:  # noqa: BLE001  os._exit would keep it to itself
                traceback.print_exc()
            finally:
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


# --- in the test ------------------------------------------------------------------------------------------------------


class Mortal:
    """One process. `points` are those it came to, the last one that it died at if `was_killed`."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._log = log

    @property
    def is_alive(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    @property
    def was_killed(self) -> bool:
        return self._lines()[-1:] == [_KILLED]

    @property
    def points(self) -> list[Point]:
        return [Point(name, int(nth)) for name, _, nth in (x.partition("\t") for x in self._lines()) if nth]

    @property
    def errors(self) -> str:
        return Path(f"{self._log}.stderr").read_text()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


class Cradle:
    """Forks processes. `async with Cradle(folder, env)`."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = dict(env)
        self._born: list[Mortal] = []

    async def __aenter__(self) -> Self:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MILKRUN_")}
        self._server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.dying", env=clean,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return self

    async def __aexit__(self, *exc: object) -> None:
        for each in self._born:
            each.kill()
        assert self._server.stdin is not None
        self._server.stdin.close()
        await self._server.wait()

    async def start(self, service: str, die_at: Point | None = None, *, is_watched: bool = True) -> Mortal:
        log = self._folder / f"{service}-{len(self._born)}.steps"
        order = {"service": service, "env": self._env, "log": str(log), "die_at": die_at, "is_watched": is_watched}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order).encode() + b"\n")
        made = Mortal(int(await self._server.stdout.readline()), log)
        self._born.append(made)
        return made


async def die_everywhere(run: Callable[[Point | None], Coroutine[Any, Any, Mortal]]) -> set[Point]:
    """Call `run` without a point, then for each point that any process has come to; those that one died at.

    `run` starts a process that dies at the point, sees the work through, checks it, and gives that process back.
    """
    first = await run(None)
    assert not first.was_killed
    waiting = dict.fromkeys(each for each in first.points if each.is_tried)
    tried, died_at = set[Point](), set[Point]()
    while waiting:
        tried.add(point := next(iter(waiting)))
        mortal = await run(point)
        if mortal.was_killed:
            died_at.add(point)
        waiting |= dict.fromkeys(each for each in mortal.points if each.is_tried)
        waiting = {each: None for each in waiting if each not in tried}
    return died_at


async def has_read_all(bus: Bus, stream: str, group: str) -> bool:
    """Whether the group has read and acknowledged all there is of a stream of one partition."""
    key = stream_key(stream, 0)
    if not await bus._redis.exists(key):
        return False
    newest = (await bus._redis.xinfo_stream(key))["last-generated-id"]
    groups = {each["name"].decode(): each for each in await bus._redis.xinfo_groups(key)}
    mine = groups.get(group)
    return mine is not None and mine["last-delivered-id"] == newest and mine["pending"] == 0


async def end_leases(bus: Bus) -> None:
    """As time would do."""
    for name in await bus._redis.keys("milkrun:lease:*"):
        await bus._redis.delete(name)


if __name__ == "__main__":
    main()
