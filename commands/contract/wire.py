"""Payloads of AWS IoT Commands, JSON and CBOR: requests written, answers read, acknowledgements and events written."""

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import cbor2

from commands.errors import AnswerRefused, InvalidAnswer, InvalidStateTransition
from commands.model import Answer, Execution, State
from core.clock import epoch_ms
from core.events import CommandChanged

MOST_ANSWER_BYTES = 65_536
MOST_RESULT_BYTES = 16_384
_MOST_RESULTS = 64
_CODE = re.compile(r"[A-Z0-9_-]{1,64}\Z")
_STATES = {state.value: state for state in State}


def request(execution: Execution, at: datetime) -> bytes:
    """What the device is sent, now."""
    parameters = dict(execution.terms.parameters)
    if execution.terms.format == "cbor":
        parameters |= {name: base64.b64decode(parameters[name]) for name in execution.terms.binary}
    body = {
        "executionId": execution.id,
        "command": execution.template,
        "parameters": parameters,
        "createdAt": epoch_ms(execution.created_at),
        "sentAt": epoch_ms(at),
        "expiresAt": epoch_ms(execution.expires_at),
        "timeoutSeconds": execution.terms.timeout_s,
        "attempt": execution.attempts,
    }
    return encode(body, execution.terms.format)


def encode(body: Mapping[str, Any], format_: str) -> bytes:
    if format_ == "cbor":
        return cbor2.dumps(body)
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def read(payload: bytes, format_: str) -> Answer:
    """A device's answer. Raises InvalidAnswer, InvalidStateTransition."""
    if len(payload) > MOST_ANSWER_BYTES:
        raise InvalidAnswer(f"an answer has at most {MOST_ANSWER_BYTES:,} bytes")
    body = _decoded(payload, format_)
    if not isinstance(body, dict):
        raise InvalidAnswer("an answer is an object with a status")
    status = body.get("status")
    if not isinstance(status, str) or status not in _STATES:
        raise InvalidAnswer("status is one of DELIVERED, IN_PROGRESS, SUCCEEDED, FAILED, REJECTED, TIMED_OUT")
    state = _STATES[status]
    if state in {State.AWAITING_APPROVAL, State.CREATED, State.SENT, State.EXPIRED, State.CANCELLED}:
        raise InvalidStateTransition(f"{state} is not for a device to report")
    code, reason = _reason(body.get("statusReason"))
    return Answer(state, code, reason, _result(body.get("result")))


def _decoded(payload: bytes, format_: str) -> Any:
    try:
        if format_ == "cbor":
            stream = io.BytesIO(payload)
            body = cbor2.load(stream)
            if stream.tell() != len(payload):
                raise InvalidAnswer("an answer is one CBOR value")
            return body
        return json.loads(payload)
    except (ValueError, RecursionError, cbor2.CBORDecodeError) as error:
        raise InvalidAnswer(f"this is no {format_.upper()}") from error


def _reason(said: Any) -> tuple[str, str]:
    if said is None:
        return "", ""
    if not isinstance(said, dict):
        raise InvalidAnswer("statusReason is an object of reasonCode and reasonDescription")
    code, reason = said.get("reasonCode", ""), said.get("reasonDescription", "")
    if not isinstance(code, str) or (code and not _CODE.match(code)):
        raise InvalidAnswer("reasonCode has 1 to 64 characters of A-Z, 0-9, '_' and '-'")
    if not isinstance(reason, str) or len(reason) > 1024 or not _is_text(reason):
        raise InvalidAnswer("reasonDescription has up to 1024 characters")
    return code, reason


def _result(said: Any) -> dict[str, dict[str, Any]]:
    if said is None:
        return {}
    if not isinstance(said, dict) or len(said) > _MOST_RESULTS:
        raise InvalidAnswer(f"result is an object of up to {_MOST_RESULTS} names")
    result = {_name(name): _value(value) for name, value in said.items()}
    if len(json.dumps(result)) > MOST_RESULT_BYTES:
        raise InvalidAnswer(f"result has at most {MOST_RESULT_BYTES:,} bytes")
    return result


def _name(name: Any) -> str:
    if isinstance(name, int) and not isinstance(name, bool):  # a CBOR key may be a number
        name = str(name)
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or not _is_text(name):
        raise InvalidAnswer("a result's name has 1 to 64 characters")
    return name


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and len(value) == 1:
        [(kind, content)] = value.items()
        match str(kind).lower(), content:
            case ("s", str()) if _is_text(content):
                return {"s": content}
            case ("b", bool()):
                return {"b": content}
            case ("bin", bytes()):
                return {"bin": base64.b64encode(content).decode()}
            case ("bin", str()):
                try:
                    base64.b64decode(content, validate=True)
                except (binascii.Error, ValueError):
                    pass
                else:
                    return {"bin": content}
    raise InvalidAnswer("a result is one of {s: text}, {b: true or false}, {bin: base64 or bytes}")


def _is_text(text: str) -> bool:
    """What PostgreSQL and UTF-8 can carry."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def accepted(execution_id: str, state: State, format_: str) -> bytes:
    return encode({"executionId": execution_id, "status": state.value}, format_)


def rejected(execution_id: str, error: AnswerRefused, format_: str) -> bytes:
    return encode({"executionId": execution_id, "error": error.aws_error, "errorMessage": str(error)}, format_)


def event(change: CommandChanged) -> bytes:
    """The payload of an event of AWS IoT's; where that has an account and region, ours has the tenant."""
    tenant = change.thing.partition(":")[0]
    body = {
        "executionId": change.execution,
        "status": change.state,
        "statusReason": {"reasonCode": change.detail, "reasonDescription": change.reason},
        "eventType": "COMMAND_EXECUTION",
        "commandArn": f"arn:milkrun:iot::{tenant}:command/{change.command}",
        "targetArn": f"arn:milkrun:iot::{tenant}:thing/{change.thing}",
        "timestamp": change.at,
    }
    return encode(body, "json")
