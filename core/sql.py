"""Named queries: each package keeps its SQL in `queries.sql`, each query under `-- name: what_it_does`."""

import re
from collections.abc import Mapping
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load(package: str, file: str = "queries.sql") -> Mapping[str, LiteralString]:
    """The queries of `package`, by name. Raises ValueError on a name given twice.

    The text ships with the package and never comes from input, hence LiteralString.
    """
    text = (resources.files(package) / file).read_text(encoding="utf-8")
    parts = _NAME.split(text)
    queries: dict[str, LiteralString] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in queries:
            raise ValueError(f"{package}/{file} names {name} twice")
        queries[name] = cast("LiteralString", body.strip())
    return queries
