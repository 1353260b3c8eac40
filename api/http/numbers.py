"""Numbers and flags as JSON has them: 7 and 7.0 are the same, `false` and `"7"` are no numbers, 0 is no flag."""

from typing import Annotated

from pydantic import AllowInfNan, BeforeValidator, Strict


def _number(value: object) -> object:
    # Pydantic takes these for numbers, too; its strict integer refuses 7.0.
    if isinstance(value, bool | str):
        raise ValueError("a number is wanted")  # noqa: TRY004  pydantic takes a ValueError for a finding
    return value


WHOLE = BeforeValidator(_number)
"""For an int field of a body, after its bounds: `Annotated[int, Field(ge=1), WHOLE]`."""

Number = Annotated[float, Strict(), AllowInfNan(False)]
"""In a request body, with bounds: `Annotated[Number, Field(ge=0)]`. 1e999 is none."""

Flag = Annotated[bool, Strict()]
"""In a request body: true or false, and no number or word for it."""
