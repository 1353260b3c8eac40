"""Query parameters that a route does not know are refused by name: a misspelt filter must not pass as no filter."""

from collections.abc import Iterator
from typing import Any, override

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute


class StrictRoute(APIRoute):
    """`APIRouter(route_class=StrictRoute)`."""

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parameters = frozenset(_names(self.dependant))
        # The last one: who may not ask at all is told that first.
        self.dependant.dependencies.append(
            get_parameterless_sub_dependant(depends=Depends(_refuse_unknown), path=self.path_format)
        )


async def _refuse_unknown(request: Request) -> None:
    route = request.scope["route"]
    assert isinstance(route, StrictRoute)
    if unknown := sorted(set(request.query_params) - route.parameters):
        allowed = f"there are {', '.join(sorted(route.parameters))}" if route.parameters else "there are none"
        raise RequestValidationError(
            [
                {"type": "unknown", "loc": ("query", name[:100]), "msg": f"there is no such parameter; {allowed}"}
                for name in unknown[:20]
            ]
        )


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for each in dependant.dependencies:
        yield from _names(each)
