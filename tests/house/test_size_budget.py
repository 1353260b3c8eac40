"""Small enough to read: functions of 80 lines at most (p95 40), files of 400, packages of 10 Python files.

A test file may have 600: its cases are read one by one, and each scenario repeats what it sets up.
"""

import ast
from pathlib import Path

from tests.house.tree import PACKAGES, ROOT, plant, sources

FUNCTION_LINES, FUNCTION_P95, FILE_LINES, TEST_FILE_LINES, FILES = 80, 40, 400, 600, 10
# More files than 10 at a package's top level, each with its reason.
MORE_FILES = {
    "cli": (19, "a file for each group of commands, as they are typed"),
    "core": (20, "thirteen concerns that every service shares, one file each; a folder of them would only hide them"),
    "ingest": (15, "the pipeline's steps are a file each; what is read and not written stands in ingest/history"),
}


def function_lengths(root: Path) -> list[tuple[int, str]]:
    return sorted(
        (node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
        for path, tree in sources(root)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    )


def over_budget(root: Path) -> list[str]:
    lengths = function_lengths(root)
    found = [f"{where} has {lines} lines" for lines, where in lengths if lines > FUNCTION_LINES]
    if lengths and (p95 := lengths[int(len(lengths) * 0.95)][0]) > FUNCTION_P95:
        found.append(f"functions have {p95} lines at the 95th percentile")
    files = [file for package in (*PACKAGES, "tests", "bench") for file in (root / package).rglob("*.py")]
    for file in files:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > (TEST_FILE_LINES if file.is_relative_to(root / "tests") else FILE_LINES):
            found.append(f"{file.relative_to(root)} has {lines} lines")
    for package in PACKAGES:
        most = MORE_FILES.get(package, (FILES, ""))[0]
        count = len(list((root / package).glob("*.py")))
        if count > most:
            found.append(f"{package} has {count} Python files at its top level, {most} are allowed")
    return found


def test_everything_is_within_its_budget():
    assert over_budget(ROOT) == []


def test_an_exception_to_the_budget_is_still_needed():
    for package, (most, reason) in MORE_FILES.items():
        assert reason
        assert FILES < len(list((ROOT / package).glob("*.py"))) <= most


def test_what_is_too_long_is_found(tmp_path):
    plant(
        tmp_path,
        {
            "core/long_function.py": "def f():\n" + "    x = 1\n" * 80,
            "sim/long_file.py": "x = 1\n" * 401,
            "tests/sim/test_long.py": "x = 1\n" * 601,
            **{f"broker/part_{n}.py": "" for n in range(11)},
        },
    )
    assert len(over_budget(tmp_path)) == 5
