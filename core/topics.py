"""MQTT topics as types; the only file that knows where the slashes are.

A device speaks below its own thing name, which is one whole topic level, so one pattern isolates tenants and devices.
"""

import enum
import re
from dataclasses import dataclass

from core.errors import Invalid
from core.tenancy import InvalidName, Thing

ROOT = "dt/milkrun"
BASIC_INGEST = "$aws/rules/"


class Format(enum.Enum):
    """How a telemetry payload is written; the value is the topic's last level (native JSON has none)."""

    JSON = ""
    CBOR = "cbor"
    OWNTRACKS = "owntracks"
    OSMAND = "osmand"
    TELTONIKA = "teltonika"


class Kind(enum.Enum):
    TELEMETRY = "telemetry"
    EVENT = "event"


class InvalidTopic(Invalid):
    """A topic no device message may arrive on."""

    code = "bad_topic"


@dataclass(frozen=True, slots=True)
class Inbound:
    """What a device's topic says: who sent it and how the payload reads."""

    thing: Thing
    kind: Kind
    format: Format = Format.JSON


_FORMATS = {f.value: f for f in Format}


def parse_inbound(topic: str) -> Inbound:
    """Read a device-to-cloud topic, plain or by Basic Ingest. Raises InvalidTopic.

    >>> parse_inbound("dt/milkrun/acme:truck-17/telemetry/cbor").format
    <Format.CBOR: 'cbor'>
    >>> str(parse_inbound("$aws/rules/ingest/dt/milkrun/acme:truck-17/event").thing)
    'acme:truck-17'
    """
    levels = topic.split("/")
    if topic.startswith(BASIC_INGEST):
        # AWS IoT Basic Ingest: $aws/rules/{rule}/{the topic itself}
        levels = levels[3:]
    if len(levels) not in {4, 5} or levels[0] != "dt" or levels[1] != "milkrun":
        raise InvalidTopic(f"topic {topic[:200]!r} is not {ROOT}/<tenant>:<device>/telemetry[/<format>] or .../event")
    try:
        thing = Thing.parse(levels[2])
    except InvalidName as error:
        raise InvalidTopic(str(error)) from error
    if levels[3] == Kind.EVENT.value and len(levels) == 4:
        return Inbound(thing, Kind.EVENT)
    if levels[3] == Kind.TELEMETRY.value:
        suffix = levels[4] if len(levels) == 5 else ""
        if suffix in _FORMATS and (suffix or len(levels) == 4):
            return Inbound(thing, Kind.TELEMETRY, _FORMATS[suffix])
    allowed = ", ".join(f.value for f in Format if f.value)
    raise InvalidTopic(f"topic {topic[:200]!r} names no known message: telemetry, telemetry/<{allowed}> or event")


def telemetry(thing: Thing | str, fmt: Format = Format.JSON) -> str:
    return f"{ROOT}/{thing}/telemetry/{fmt.value}" if fmt.value else f"{ROOT}/{thing}/telemetry"


def event(thing: Thing | str) -> str:
    return f"{ROOT}/{thing}/event"


def ack(thing: Thing | str) -> str:
    return f"{ROOT}/{thing}/ack"


def presence(thing: Thing | str, event_type: str) -> str:
    """AWS IoT's lifecycle topic; `event_type` is `connected` or `disconnected`."""
    return f"$aws/events/presence/{event_type}/{thing}"


def ingest_filters() -> tuple[str, ...]:
    """The filters that together match every device-to-cloud message Milkrun ingests."""
    kinds = ("telemetry", "telemetry/+", "event")
    return (*(f"{ROOT}/+/{kind}" for kind in kinds), *(f"{BASIC_INGEST}+/{ROOT}/+/{kind}" for kind in kinds))


def shared(group: str, topic_filter: str) -> str:
    """A shared subscription: each message goes to one member of the group."""
    return f"$share/{group}/{topic_filter}"


class ShadowVerb(enum.Enum):
    """What a device may ask of a shadow; the value is the topic's last level."""

    GET = "get"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ShadowRequest:
    """What a shadow request's topic says. `name` is empty for the classic shadow."""

    thing: Thing
    name: str
    verb: ShadowVerb


_SHADOW_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}\Z")
_SHADOW_VERBS = {verb.value: verb for verb in ShadowVerb}


def is_shadow_name(name: str) -> bool:
    """Whether AWS IoT allows it as the name of a named shadow."""
    return _SHADOW_NAME.match(name) is not None


def parse_shadow(topic: str) -> ShadowRequest:
    """Read a shadow request's topic. Raises InvalidTopic.

    >>> parse_shadow("$aws/things/acme:truck-17/shadow/name/milk/update").name
    'milk'
    """
    levels = topic.split("/")
    classic = len(levels) == 5
    if not (classic or (len(levels) == 7 and levels[4] == "name")) or [*levels[:2], levels[3]] != _SHADOW_LEVELS:
        raise InvalidTopic(f"topic {topic[:200]!r} is not $aws/things/<thing>/shadow[/name/<name>]/<verb>")
    verb, name = _SHADOW_VERBS.get(levels[-1]), "" if classic else levels[5]
    if verb is None or not (classic or is_shadow_name(name)):
        raise InvalidTopic(f"topic {topic[:200]!r} names no shadow or none of get, update, delete")
    try:
        return ShadowRequest(Thing.parse(levels[2]), name, verb)
    except InvalidName as error:
        raise InvalidTopic(str(error)) from error


_SHADOW_LEVELS = ["$aws", "things", "shadow"]


def shadow(thing: Thing | str, name: str, rest: str) -> str:
    """A topic of the shadow `name` (empty: the classic one), such as `rest` = `update/delta`."""
    return f"$aws/things/{thing}/shadow/name/{name}/{rest}" if name else f"$aws/things/{thing}/shadow/{rest}"


def shadow_filters() -> tuple[str, ...]:
    """The filters that together match every device's shadow requests, and none of the answers."""
    return tuple(shadow("+", name, verb.value) for name in ("", "+") for verb in ShadowVerb)


@dataclass(frozen=True, slots=True)
class ShadowNews:
    """What the topic of a shadow's news says. `name` is empty for the classic shadow."""

    thing: Thing
    name: str
    is_deletion: bool


_SHADOW_NEWS = ("update/documents", "delete/accepted")


def shadow_news_filters() -> tuple[str, ...]:
    """The filters that together match every change of every device's shadows: the documents, and deletions."""
    return tuple(shadow("+", name, ending) for name in ("", "+") for ending in _SHADOW_NEWS)


def parse_shadow_news(topic: str) -> ShadowNews:
    """Read the topic of a shadow's documents or deletion. Raises InvalidTopic.

    >>> parse_shadow_news("$aws/things/acme:truck-17/shadow/name/milk/delete/accepted").is_deletion
    True
    """
    for ending in _SHADOW_NEWS:
        verb, _, answer = ending.partition("/")
        if topic.endswith(f"/{ending}"):
            request = parse_shadow(topic.removesuffix(f"/{answer}"))
            return ShadowNews(request.thing, request.name, verb == ShadowVerb.DELETE.value)
    raise InvalidTopic(f"topic {topic[:200]!r} is neither {_SHADOW_NEWS[0]} nor {_SHADOW_NEWS[1]} of a shadow")


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What the topic of a device's answer to a command says; `format` is `json` or `cbor`."""

    thing: Thing
    execution: str
    format: str


_EXECUTION_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


def parse_command_answer(topic: str) -> CommandAnswer:
    """Read the topic of an answer. Raises InvalidTopic.

    >>> parse_command_answer("$aws/commands/things/acme:truck-17/executions/cmd_1/response/json").execution
    'cmd_1'
    """
    levels = topic.split("/")
    fixed = ["$aws", "commands", "things", "executions", "response"]
    if len(levels) != 8 or [*levels[:3], levels[4], levels[6]] != fixed or levels[7] not in {"json", "cbor"}:
        raise InvalidTopic(f"topic {topic[:200]!r} is no answer to a command: .../executions/<id>/response/<json|cbor>")
    if not _EXECUTION_ID.match(levels[5]):
        raise InvalidTopic(f"execution id {levels[5][:80]!r}: use 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
    try:
        return CommandAnswer(Thing.parse(levels[3]), levels[5], levels[7])
    except InvalidName as error:
        raise InvalidTopic(str(error)) from error


def command(thing: Thing | str, execution: str, rest: str) -> str:
    """A topic of one execution, such as `rest` = `request/json` or `response/accepted/cbor`."""
    return f"$aws/commands/things/{thing}/executions/{execution}/{rest}"


def command_filters() -> tuple[str, ...]:
    """The filters that together match every device's answers, and none of what it is told."""
    return tuple(command("+", "+", f"response/{fmt}") for fmt in ("json", "cbor"))


def command_event(command_id: str, state: str) -> str:
    """AWS IoT's topic for changes of executions; `command_id` is `{tenant}:{template}`."""
    return f"$aws/events/commandExecution/{command_id}/{state}"
