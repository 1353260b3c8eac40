from collections.abc import Iterator
from typing import Annotated, Any, get_args

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from api.app import bare_app


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that `kind` is made of, with those they hold."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from _models(field.annotation)
    for part in get_args(kind):
        yield from _models(part)


_ASKED = {
    model
    for route in bare_app().routes
    if isinstance(route, APIRoute) and route.body_field
    for model in _models(route.body_field.field_info.annotation)
}
_FIELDS = {
    f"{model.__module__}.{model.__name__}.{name}": TypeAdapter(Annotated[field.annotation, Field(), *field.metadata])
    for model in _ASKED
    for name, field in model.model_fields.items()
}


def _kinds(of: TypeAdapter[Any]) -> set[str]:
    schema = of.json_schema()
    return {str(each.get("type")) for each in schema.get("anyOf", [schema])}


_NUMBERS = {name: field for name, field in _FIELDS.items() if _kinds(field) <= {"integer", "number", "null"}}
_FLAGS = {name: field for name, field in _FIELDS.items() if _kinds(field) <= {"boolean", "null"}}


@pytest.mark.parametrize("name", sorted(_NUMBERS))
@pytest.mark.parametrize("wrong", [True, False, "7", "7.5", float("inf")])
def test_a_flag_a_text_and_infinity_are_no_numbers_in_any_body(name: str, wrong: object):
    with pytest.raises(ValidationError):
        _NUMBERS[name].validate_python(wrong)


@pytest.mark.parametrize("name", sorted(_FLAGS))
@pytest.mark.parametrize("wrong", [0, 1, 1.0, "true", "no"])
def test_a_number_and_a_word_are_no_flags_in_any_body(name: str, wrong: object):
    with pytest.raises(ValidationError):
        _FLAGS[name].validate_python(wrong)


@pytest.mark.parametrize("name", sorted(name for name, field in _NUMBERS.items() if "integer" in _kinds(field)))
def test_a_whole_number_may_be_written_with_a_point(name: str):
    assert _NUMBERS[name].validate_python(7.0) == 7


def test_there_are_fields_to_ask():
    assert len(_NUMBERS) > 20
    assert len(_FLAGS) > 6
