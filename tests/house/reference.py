"""Settings and metrics as the code has them: `python -m tests.house.reference` prints docs/operations.md's tables."""

import ast
import re
import sys

from pydantic import BaseModel

from core.settings import Settings
from tests.house.tree import ROOT, sources

_KINDS = {"Counter", "Gauge", "Histogram", "Summary"}


def settings() -> list[tuple[str, str, str]]:
    """Variable, default and meaning of every setting; MILKRUN_CONFIG names the file."""
    found = []
    for group, field in Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseModel)
        for key, setting in field.annotation.model_fields.items():
            default = "" if setting.default is None else str(setting.default)
            found.append((f"MILKRUN_{group}_{key}".upper(), default, setting.description or ""))
    return found


def metrics() -> list[tuple[str, str, str]]:
    """Name, kind and meaning of every Prometheus metric the product declares, read from its source."""
    found = []
    for _, tree in sources(ROOT):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _KINDS:
                said = [str(part.value) for part in node.args[:2] if isinstance(part, ast.Constant)]
                if len(said) == 2:  # collections.Counter is no metric
                    found.append((said[0], node.func.id.lower(), said[1]))
    return sorted(found)


def other_variables() -> set[str]:
    """Variables that are no setting of a process: the command line's own, such as MILKRUN_DATA."""
    return {
        node.value
        for _, tree in sources(ROOT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and re.fullmatch(r"MILKRUN_[A-Z_]+[A-Z]", str(node.value))
    }


def undocumented(page: str) -> list[str]:
    """Settings and metrics that `page` does not name as a whole word in backquotes."""
    named = set(re.findall(r"`([\w.]+)`", page))
    return [name for name, *_ in (*settings(), *metrics()) if name not in named]


def unknown(page: str) -> list[str]:
    """Variables and metrics that `page` names and the code does not have."""
    known = {name for name, *_ in (*settings(), *metrics())} | other_variables() | {"MILKRUN_TEST_DATABASE_URL"}
    suffixed = {f"{name}{end}" for name in known for end in ("_total", "_sum", "_count", "_bucket", "_created")}
    said = set(re.findall(r"`(MILKRUN_[A-Z0-9_]+|milkrun_[a-z0-9_]+)`", page))
    roles = {"milkrun_app", "milkrun_ingest", "milkrun_operator"}
    return sorted(said - known - suffixed - roles)


def main() -> None:
    write = sys.stdout.write
    write("| setting | default | what |\n|---|---|---|\n")
    for name, default, meaning in settings():
        write(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |\n")
    write("\n| metric | kind | what |\n|---|---|---|\n")
    for name, kind, meaning in metrics():
        write(f"| `{name}` | {kind} | {meaning} |\n")


if __name__ == "__main__":
    main()
