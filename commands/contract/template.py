"""Templates: what may be sent, with typed parameters that are checked before anything is stored."""

import base64
import binascii
import enum
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from commands.errors import InvalidParameters, InvalidTemplate
from commands.model import Order

MOST_PARAMETERS = 32
MOST_BYTES = 32_768
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")


class Type(enum.StrEnum):
    """AWS IoT's parameter types."""

    STRING = "STRING"
    INTEGER = "INTEGER"  # 32 bits
    LONG = "LONG"  # 64 bits
    UNSIGNEDLONG = "UNSIGNEDLONG"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    BINARY = "BINARY"  # base64


_WHOLE = {Type.INTEGER: (-(2**31), 2**31 - 1), Type.LONG: (-(2**63), 2**63 - 1), Type.UNSIGNEDLONG: (0, 2**64 - 1)}
_NUMBERS = frozenset({*_WHOLE, Type.DOUBLE})
_TEXTS = frozenset({Type.STRING, Type.BINARY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One of a template's. A value is checked against its type, then against each condition that is not None."""

    name: str
    type: Type
    description: str = ""
    required: bool = True
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] | None = None
    max_length: int | None = None

    def check(self, value: Any) -> Any:
        """The value as it is sent. Raises InvalidParameters."""
        value = self._typed(value)
        if self.type in _NUMBERS:
            self._within(value)
        if self.max_length is not None and self.type in _TEXTS and len(value) > self.max_length:
            raise InvalidParameters(f"parameter {self.name} has {len(value)} characters: at most {self.max_length}")
        if self.allowed is not None and value not in self.allowed:
            wanted = ", ".join(json.dumps(each) for each in self.allowed)
            raise InvalidParameters(f"parameter {self.name} is {json.dumps(value)[:80]}: allowed are {wanted[:400]}")
        return value

    def _typed(self, value: Any) -> Any:
        match self.type, value:
            case (Type.BOOLEAN, bool()) | (Type.STRING, str()):
                return value
            case (Type.BINARY, str()):
                return self._binary(value)
            case (Type.DOUBLE, int() | float()) if not isinstance(value, bool) and abs(value) < 1e308:
                if math.isfinite(value):
                    return float(value)
            case (Type.INTEGER | Type.LONG | Type.UNSIGNEDLONG, int() | float()) if not isinstance(value, bool):
                least, most = _WHOLE[self.type]
                if value == value // 1 and least <= value <= most:  # NaN and infinity are none
                    return int(value)
        raise InvalidParameters(f"parameter {self.name} is {json.dumps(value)[:80]}: it takes {_SAID[self.type]}")

    def _binary(self, value: str) -> str:
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidParameters(f"parameter {self.name} is no base64: {error}") from error
        return value

    def _within(self, value: float) -> None:
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            least = "" if self.minimum is None else f" from {self.minimum:g}"
            most = "" if self.maximum is None else f" up to {self.maximum:g}"
            raise InvalidParameters(f"parameter {self.name} is {value}: allowed is{least}{most}")


_SAID = {
    Type.STRING: "a text",
    Type.INTEGER: "a whole number of 32 bits",
    Type.LONG: "a whole number of 64 bits",
    Type.UNSIGNEDLONG: "a whole number from 0 to 2^64 - 1",
    Type.DOUBLE: "a finite number",
    Type.BOOLEAN: "true or false",
    Type.BINARY: "a text in base64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What may be sent, and how unless the sender says otherwise."""

    id: str
    description: str
    format: Literal["json", "cbor"]
    parameters: tuple[Parameter, ...]
    dangerous: bool
    needs_approval: bool
    timeout_s: int
    expires_s: int
    retries: int
    order: Order
    is_deprecated: bool
    version: int
    created_at: datetime
    updated_at: datetime

    def fill(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter that is given or has a default, checked. Raises InvalidParameters."""
        if unknown := sorted(set(given) - {each.name for each in self.parameters}):
            there = ", ".join(each.name for each in self.parameters) or "none"
            raise InvalidParameters(f"{self.id} has no parameter {unknown[0][:80]!r}; there are {there}")
        filled = {}
        for each in self.parameters:
            value = given.get(each.name)
            value = each.default if value is None else value
            if value is not None:
                filled[each.name] = each.check(value)
            elif each.required:
                raise InvalidParameters(f"{self.id} needs the parameter {each.name}: {_SAID[each.type]}")
        if len(json.dumps(filled)) > MOST_BYTES:
            raise InvalidParameters(f"the parameters have over {MOST_BYTES:,} bytes together")
        return filled


def checked(template: Template) -> Template:
    """The template, if it makes sense. Raises InvalidTemplate."""
    if not _NAME.match(template.id):
        raise InvalidTemplate(
            f"template name {template.id[:80]!r}: use 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
        )
    if template.dangerous and not template.description:
        raise InvalidTemplate("a dangerous command says in its description what it does")
    _checked_parameters(template.parameters)
    return template


def _checked_parameters(parameters: Sequence[Parameter]) -> None:
    if len(parameters) > MOST_PARAMETERS:
        raise InvalidTemplate(f"a template has at most {MOST_PARAMETERS} parameters")
    names = [each.name for each in parameters]
    for each in parameters:
        if not _PARAMETER.match(each.name):
            raise InvalidTemplate(
                f"parameter name {each.name[:80]!r}: a letter or '_', then letters, digits, '_', '.' and '-', 64 in all"
            )
        if names.count(each.name) > 1:
            raise InvalidTemplate(f"parameter {each.name} is there twice")
        if (each.minimum is not None or each.maximum is not None) and each.type not in _NUMBERS:
            raise InvalidTemplate(f"parameter {each.name} is {each.type}: minimum and maximum are for numbers")
        if each.minimum is not None and each.maximum is not None and each.minimum > each.maximum:
            raise InvalidTemplate(f"parameter {each.name}: its minimum is above its maximum")
        if each.max_length is not None and each.type not in _TEXTS:
            raise InvalidTemplate(f"parameter {each.name} is {each.type}: max_length is for texts")
        _checked_values(each)


def _checked_values(parameter: Parameter) -> None:
    try:
        for value in parameter.allowed or ():
            parameter.check(value)
        if parameter.default is not None:
            parameter.check(parameter.default)
    except InvalidParameters as error:
        raise InvalidTemplate(f"a value that its own conditions refuse: {error}") from error
