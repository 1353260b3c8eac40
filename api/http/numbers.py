"""Numbers and flags as JSON has them: 7 and 7.0 are the same, `false` is no number, 0 is no flag."""

from typing import Annotated

from pydantic import BeforeValidator, Strict


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")  # noqa: TRY004  pydantic takes a ValueError for a finding
    return value


NO_FLAG = BeforeValidator(_no_flag)
"""For an int field of a body, after its bounds: `Annotated[int, Field(ge=1), NO_FLAG]`."""

Flag = Annotated[bool, Strict()]
"""In a request body: true or false, and no number or word for it."""
