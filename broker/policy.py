"""Who may do what on which topic: the one table.

Mosquitto's ACL files are rendered from it, the embedded broker and the guard ask `allowed`, and the ACL matrix test
compares a running broker with it. `{thing}` stands for the device's own name, one whole topic level.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from core import topics

INGEST = "svc-ingest"
BROKER = "svc-broker"
SHADOW = "svc-shadow"
COMMANDS = "svc-commands"


class Action(enum.Enum):
    PUBLISH = "publish"
    WILL = "will"  # a publish the broker makes in the client's name
    SUBSCRIBE = "subscribe"  # the topic is then a filter
    RECEIVE = "receive"


@dataclass(frozen=True, slots=True)
class Device:
    """Whoever holds a certificate of the device authority; `thing` is its CN."""

    thing: str


@dataclass(frozen=True, slots=True)
class Service:
    """Whoever holds a certificate of the service authority; `name` is its CN."""

    name: str


Principal = Device | Service


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic patterns a principal may publish to (`writes`) and be given messages of (`reads`)."""

    writes: tuple[str, ...]
    reads: tuple[str, ...]


_SHADOW = ("$aws/things/{thing}/shadow", "$aws/things/{thing}/shadow/name/+")
_VERBS = ("get", "update", "delete")
_JOBS = "$aws/things/{thing}/jobs"
_EXECUTION = "$aws/commands/things/{thing}/executions/+"
_ANSWERS = ("accepted", "rejected")

_COMMAND_ANSWERS = (f"{_EXECUTION}/response/json", f"{_EXECUTION}/response/cbor")
_COMMANDS = (f"{_EXECUTION}/request/+", *(f"{_EXECUTION}/response/{answer}/+" for answer in _ANSWERS))

_SHADOW_REQUESTS = tuple(f"{shadow}/{verb}" for shadow in _SHADOW for verb in _VERBS)
_SHADOW_ANSWERS = (
    *(f"{shadow}/{verb}/{answer}" for shadow in _SHADOW for verb in _VERBS for answer in _ANSWERS),
    *(f"{shadow}/update/{news}" for shadow in _SHADOW for news in ("delta", "documents")),
)

# AWS IoT lets a policy grant a device the answer topics too; here it may only ask, so that it cannot forge an answer.
DEVICE = Rights(
    writes=(
        f"{topics.ROOT}/{{thing}}/telemetry",
        f"{topics.ROOT}/{{thing}}/telemetry/+",
        f"{topics.ROOT}/{{thing}}/event",
        f"{topics.BASIC_INGEST}+/{topics.ROOT}/{{thing}}/telemetry",
        f"{topics.BASIC_INGEST}+/{topics.ROOT}/{{thing}}/telemetry/+",
        f"{topics.BASIC_INGEST}+/{topics.ROOT}/{{thing}}/event",
        *_SHADOW_REQUESTS,
        f"{_JOBS}/get",
        f"{_JOBS}/start-next",
        f"{_JOBS}/+/get",
        f"{_JOBS}/+/update",
        *_COMMAND_ANSWERS,
    ),
    reads=(
        f"{topics.ROOT}/{{thing}}/ack",
        *_SHADOW_ANSWERS,
        f"{_JOBS}/notify",
        f"{_JOBS}/notify-next",
        *(f"{_JOBS}/{verb}/{answer}" for verb in ("get", "start-next", "+/get", "+/update") for answer in _ANSWERS),
        *_COMMANDS,
    ),
)

# A device may subscribe to anything below these, as the usual AWS IoT policy lets it (`.../things/name/*`);
# what it is then given is `DEVICE.reads`.
DEVICE_SPACE = (f"{topics.ROOT}/{{thing}}", "$aws/things/{thing}", "$aws/commands/things/{thing}")


def _of_any_device(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern.format(thing="+") for pattern in patterns)


# Those whose sessions keep devices' messages while they are away: what they read stands as patterns.
_DURABLE = (INGEST, SHADOW, COMMANDS)

# Certificates of the service authority are issued for these names and no others.
SERVICES: Mapping[str, Rights] = {
    INGEST: Rights(
        writes=(topics.ack("+"),),
        reads=_of_any_device(tuple(p for p in DEVICE.writes if p not in {*_SHADOW_REQUESTS, *_COMMAND_ANSWERS})),
    ),
    SHADOW: Rights(writes=_of_any_device(_SHADOW_ANSWERS), reads=_of_any_device(_SHADOW_REQUESTS)),
    COMMANDS: Rights(
        writes=(*_of_any_device(_COMMANDS), topics.command_event("+", "+")), reads=_of_any_device(_COMMAND_ANSWERS)
    ),
    BROKER: Rights(
        writes=(*_of_any_device(DEVICE.reads), topics.presence("+", "connected"), topics.presence("+", "disconnected")),
        reads=("$SYS/broker/#", topics.presence("+", "+"), topics.command_event("+", "+")),
    ),
}


def allowed(principal: Principal, action: Action, topic: str) -> bool:
    """Whether `principal` may do `action` on `topic` (a filter when the action is SUBSCRIBE). Unknown names: never.

    >>> allowed(Device("acme:t1"), Action.PUBLISH, "dt/milkrun/acme:t1/telemetry")
    True
    >>> allowed(Device("acme:t1"), Action.SUBSCRIBE, "dt/milkrun/+/ack")
    False
    """
    match principal:
        case Device(thing):
            if action is Action.SUBSCRIBE:
                return any(_below(root.format(thing=thing), topic) for root in DEVICE_SPACE)
            patterns = DEVICE.reads if action is Action.RECEIVE else DEVICE.writes
            return any(matches(pattern.format(thing=thing), topic) for pattern in patterns)
        case Service(name):
            rights = SERVICES.get(name, Rights((), ()))
            if action is Action.SUBSCRIBE:
                return any(_covers(pattern, _unshared(topic)) for pattern in rights.reads)
            return any(matches(p, topic) for p in (rights.reads if action is Action.RECEIVE else rights.writes))


def matches(pattern: str, topic: str) -> bool:
    """MQTT's own matching of a topic against a filter, `$` rule included."""
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(given) or level not in {"+", given[at]}:
            return False
    return len(wanted) == len(given)


def _covers(pattern: str, topic_filter: str) -> bool:
    """Whether every topic that `topic_filter` matches is matched by `pattern`."""
    wanted, given = pattern.split("/"), topic_filter.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(given) or given[at] == "#" or (level != "+" and level != given[at]):
            return False
    return len(wanted) == len(given)


def _below(root: str, topic_filter: str) -> bool:
    return topic_filter.startswith(root + "/")


def _unshared(topic_filter: str) -> str:
    """A shared subscription's own filter: `$share/{group}/{filter}`."""
    shared = topic_filter.startswith("$share/") and topic_filter.count("/") > 1
    return topic_filter.split("/", 2)[2] if shared else topic_filter


def device_acl() -> str:
    """Mosquitto's ACL file for the device listener: patterns alone, so no CN can name a user with more rights."""
    return _lines(
        *(f"pattern write {pattern.format(thing='%u')}" for pattern in DEVICE.writes),
        *(f"pattern read {pattern.format(thing='%u')}" for pattern in DEVICE.reads),
    )


def service_acl() -> str:
    """Mosquitto's ACL file for the service listener.

    What ingest and the services with a desk read stands as patterns and is denied to the other users by name. Rights
    under `user` are forgotten for a session that is offline when Mosquitto reloads, which would discard acknowledged
    messages in silence; patterns hold. Mosquitto warns once for each pattern that it has neither %c nor %u: that is
    meant.
    """
    kept = [pattern for name in _DURABLE for pattern in SERVICES[name].reads]
    lines = [f"pattern read {pattern}" for pattern in kept]
    for name, rights in SERVICES.items():
        lines.append(f"user {name}")
        lines += [f"topic deny {pattern}" for pattern in kept if pattern not in rights.reads]
        if name not in _DURABLE:
            lines += [f"topic read {pattern}" for pattern in rights.reads]
        lines += [f"topic write {pattern}" for pattern in rights.writes]
    return _lines(*lines)


def _lines(*lines: str) -> str:
    return "# Rendered from broker/policy.py; changes here are lost at the next start.\n" + "\n".join(lines) + "\n"
