"""Whole numbers as JSON has them: 7 and 7.0 are the same, `false` is no number."""

from pydantic import BeforeValidator


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")  # noqa: TRY004  pydantic takes a ValueError for a finding
    return value


NO_FLAG = BeforeValidator(_no_flag)
"""For an int field of a body, after its bounds: `Annotated[int, Field(ge=1), NO_FLAG]`."""
