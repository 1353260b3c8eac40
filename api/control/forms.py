"""Templates, commands and groups as JSON."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from api.fleet.given import Form
from api.http.numbers import WHOLE, Flag, Number
from api.http.times import Time
from commands.contract.template import MOST_PARAMETERS, Parameter, Template, Type
from commands.drafting import Request
from commands.groups import Group
from commands.model import Actor, Execution, Order, State
from commands.store import Batch

Scalar = bool | int | Number | str
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
_ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
_Note = Annotated[str, StringConstraints(max_length=500)]
_Description = Annotated[str, StringConstraints(max_length=1000)]
TimeoutS = Annotated[int, Field(ge=5, le=604_800), WHOLE]
ExpiresS = Annotated[int, Field(ge=5, le=2_592_000), WHOLE]
Retries = Annotated[int, Field(ge=0, le=10), WHOLE]
_TIMEOUT = "Seconds from first sending it to its final answer"
_EXPIRES = "Seconds in which it is sent, or never"
_RETRIES = "Times it is sent again for want of an answer"
_ORDER = (
    "`after_end`: when every earlier command of the device has ended; `after_delivery`: when each is delivered or has "
    "ended; `any`: waits for none, and none waits for it"
)


class ParameterBody(Form):
    """What a sender gives beside the template's name, and what it is checked for."""

    name: _ParameterName = Field(examples=["limit_kmh"])
    type: Type = Field(description="BINARY is a text in base64", examples=["INTEGER"])
    description: _Description = ""
    required: Flag = True
    default: Scalar | None = Field(None, description="Sent where none is given", examples=[30])
    minimum: Number | None = Field(None, description="Of numbers", examples=[5])
    maximum: Number | None = Field(None, description="Of numbers", examples=[120])
    allowed: Annotated[list[Scalar], Field(min_length=1, max_length=64)] | None = Field(
        None, description="No other values", examples=[[30, 50, 80]]
    )
    max_length: Annotated[int, Field(ge=0, le=32_768), WHOLE] | None = Field(
        None, description="Characters of a text", examples=[None]
    )

    def parameter(self) -> Parameter:
        allowed = None if self.allowed is None else tuple(self.allowed)
        return Parameter(**{**dict(self), "allowed": allowed})


class TemplateBody(BaseModel):
    """What may be sent, and how unless the sender says otherwise."""

    id: str = Field(examples=["limit-speed"])
    description: str
    format: Literal["json", "cbor"] = Field(description="How the device reads it")
    parameters: list[ParameterBody]
    dangerous: bool = Field(description="Whoever sends it is asked twice")
    needs_approval: bool = Field(description="A second person has to agree before it is sent")
    timeout_s: int = Field(description=_TIMEOUT)
    expires_s: int = Field(description=_EXPIRES)
    retries: int = Field(description=_RETRIES)
    order: Order = Field(description=_ORDER)
    deprecated: bool = Field(description="Out of use: nothing new is sent by it")
    version: int
    created_at: Time
    updated_at: Time


class NewTemplate(Form):
    """A template to add."""

    id: _Name = Field(examples=["limit-speed"])
    description: _Description = Field("", examples=["Limits the speed of the truck"])
    format: Literal["json", "cbor"] = "json"
    parameters: Annotated[list[ParameterBody], Field(max_length=MOST_PARAMETERS)] = Field(
        [], examples=[[{"name": "limit_kmh", "type": "INTEGER", "minimum": 5, "maximum": 120}]]
    )
    dangerous: Flag = False
    needs_approval: Flag | None = Field(None, description="Default: what `dangerous` says")
    timeout_s: TimeoutS = Field(60, description=_TIMEOUT)
    expires_s: ExpiresS = Field(300, description=_EXPIRES)
    retries: Retries = Field(2, description=_RETRIES)
    order: Order = Field("after_end", description=_ORDER)

    def template(self, at: datetime) -> Template:
        return Template(
            parameters=tuple(each.parameter() for each in self.parameters),
            needs_approval=self.dangerous if self.needs_approval is None else self.needs_approval,
            is_deprecated=False,
            version=1,
            created_at=at,
            updated_at=at,
            **self.model_dump(exclude={"parameters", "needs_approval"}),
        )


class TemplateChange(Form):
    """What is left out stays; parameters are replaced as a whole."""

    description: _Description | None = None
    format: Literal["json", "cbor"] | None = None
    parameters: Annotated[list[ParameterBody], Field(max_length=MOST_PARAMETERS)] | None = None
    dangerous: Flag | None = None
    needs_approval: Flag | None = None
    timeout_s: TimeoutS | None = None
    expires_s: ExpiresS | None = None
    retries: Retries | None = None
    order: Order | None = None
    deprecated: Flag | None = None


class _Asked(Form):
    template: _Name = Field(examples=["limit-speed"])
    parameters: Annotated[dict[_ParameterName, Scalar | None], Field(max_length=MOST_PARAMETERS)] = Field(
        {}, examples=[{"limit_kmh": 30}]
    )
    timeout_s: TimeoutS | None = Field(None, description=f"{_TIMEOUT}; default: the template's")
    expires_s: ExpiresS | None = Field(None, description=f"{_EXPIRES}; default: the template's")
    retries: Retries | None = Field(None, description=f"{_RETRIES}; default: the template's")
    order: Order | None = Field(None, description=f"{_ORDER}; default: the template's")
    note: _Note = Field("", description="Why; kept with it and in the audit log", examples=["stolen, police informed"])
    token: _Name | None = Field(
        None,
        description="The same token with the same request gives the same command, with another one 409",
        examples=["order-4711"],
    )

    def request(self) -> Request:
        names = ("template", "timeout_s", "expires_s", "retries", "order", "note", "token")
        given = {name: value for name, value in self.parameters.items() if value is not None}
        return Request(parameters=given, **{name: getattr(self, name) for name in names})


class NewCommand(_Asked):
    """A command to one device."""

    device: Annotated[str, StringConstraints(max_length=100)] = Field(examples=["truck-17"])


class NewBatch(_Asked):
    """A command to a group: `devices`, `labels` or `where`, one of the three. It is those of them in service."""

    devices: Annotated[list[_Name], Field(min_length=1, max_length=10_000)] | None = Field(
        None, examples=[["truck-17"]]
    )
    labels: Annotated[dict[str, str], Field(min_length=1, max_length=16)] | None = Field(
        None, description="A device carries every one", examples=[{"depot": "north"}]
    )
    where: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        None, description="As GET /v1/devices takes it", examples=["online = true"]
    )
    rate_per_minute: Annotated[Number, Field(gt=0, le=600_000)] | None = Field(
        None, description="So many are sent in a minute at most; null: all at once", examples=[60]
    )

    def group(self) -> Group:
        devices = None if self.devices is None else sorted(set(self.devices))
        return Group(devices=devices, labels=self.labels, where=self.where, rate_per_minute=self.rate_per_minute)


class Decision(Form):
    """Why; may be left out."""

    reason: _Note = ""


class ActorBody(BaseModel):
    """A user, a client, a key, or `cli`: whoever works on the machine itself."""

    kind: str = Field(examples=["user"])
    id: str
    name: str


class StepBody(BaseModel):
    """A line of a command's history."""

    at: Time
    state: State
    by: str = Field(description="kind:id of whoever did it, `device`, or `milkrun`")
    reason_code: str
    reason: str


class CommandBody(BaseModel):
    """One command on one device. docs/commands.md says what each state proves."""

    id: str = Field(examples=["cmd_019ab3f1c2d45e6f7a8b9c"])
    device: str = Field(examples=["truck-17"])
    template: str = Field(examples=["limit-speed"])
    batch: str | None = Field(description="The group it was sent with")
    parameters: dict[str, Any] = Field(examples=[{"limit_kmh": 30}])
    state: State
    reason_code: str = Field(description="The device's own word, or ours", examples=["DONE"])
    reason: str
    result: dict[str, dict[str, Any]] = Field(examples=[{"was_moving": {"b": True}}])
    late: bool = Field(description="The answer came after its time was over")
    attempts: int = Field(description="Times it was handed to the broker; 0: it was never sent")
    dangerous: bool
    order: Order
    timeout_s: int
    retries: int
    note: str
    version: int
    sender: ActorBody
    approver: ActorBody | None = Field(description="Who agreed, or did not")
    created_at: Time
    approved_at: Time | None
    expires_at: Time = Field(description="Not sent after this")
    sent_at: Time | None
    delivered_at: Time | None
    ended_at: Time | None
    updated_at: Time


class WholeCommandBody(CommandBody):
    """With what happened to it."""

    history: list[StepBody]


class BatchBody(BaseModel):
    """One command to many devices, and how they stand."""

    id: str = Field(examples=["bat_019ab3f1c2d45e6f7a8b9c"])
    template: str
    parameters: dict[str, Any]
    target: dict[str, Any] = Field(description="As it was asked for", examples=[{"labels": {"depot": "north"}}])
    note: str
    rate_per_minute: float | None
    total: int = Field(description="Devices")
    states: dict[State, int] = Field(description="How many commands are in each", examples=[{"SUCCEEDED": 12}])
    sender: ActorBody
    created_at: Time


def template(found: Template) -> TemplateBody:
    facts = {
        name: getattr(found, name) for name in TemplateBody.model_fields if name not in {"parameters", "deprecated"}
    }
    return TemplateBody(
        parameters=[_parameter(each) for each in found.parameters], deprecated=found.is_deprecated, **facts
    )


def _parameter(each: Parameter) -> ParameterBody:
    facts = {name: getattr(each, name) for name in ParameterBody.model_fields if name != "allowed"}
    return ParameterBody(allowed=None if each.allowed is None else list(each.allowed), **facts)


def _actor(actor: Actor) -> ActorBody:
    return ActorBody(kind=actor.kind, id=actor.id, name=actor.name)


def _facts(found: Execution) -> dict[str, Any]:
    terms, names = found.terms, ("id", "template", "batch", "state", "reason_code", "reason", "attempts", "version")
    times = ("created_at", "approved_at", "expires_at", "sent_at", "delivered_at", "ended_at", "updated_at")
    return {
        **{name: getattr(found, name) for name in (*names, *times)},
        **{name: getattr(terms, name) for name in ("dangerous", "order", "timeout_s", "retries", "note")},
        "device": found.thing.device,
        "parameters": dict(terms.parameters),
        "result": dict(found.result),
        "late": found.is_late,
        "sender": _actor(found.sender),
        "approver": None if found.approver is None else _actor(found.approver),
    }


def command(found: Execution) -> CommandBody:
    return CommandBody(**_facts(found))


def whole_command(found: Execution) -> WholeCommandBody:
    steps = [
        StepBody(at=each.at, state=each.state, by=each.by, reason_code=each.reason_code, reason=each.reason)
        for each in found.history
    ]
    return WholeCommandBody(**_facts(found), history=steps)


def batch(found: Batch) -> BatchBody:
    target = {name: value for name, value in found.target.items() if value is not None}
    facts = {name: getattr(found, name) for name in BatchBody.model_fields if name not in {"target", "sender"}}
    return BatchBody(target=target, sender=_actor(found.sender), **facts)
