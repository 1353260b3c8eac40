"""Decisions are numbered, dated, argued, and name what holds them."""

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, plant

SECTIONS = ["Context", "Decision", "Consequences", "Alternatives", "Checks"]
STATUSES = r"accepted|proposed|superseded by \d{4}"
_REFERENCE = re.compile(r"`(tests/[\w./-]+?)(?:::\w+)?`|`make (\w+)`|`(bench/[\w./-]+)`")


def faults(root: Path) -> list[str]:
    files = sorted((root / "docs/adr").glob("*.md"))
    found = [
        f"{file.name} is not NNNN-title.md" for file in files if not re.match(r"\d{4}-[a-z0-9-]+\.md\Z", file.name)
    ]
    numbers = [int(file.name[:4]) for file in files if file.name[:4].isdigit()]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"numbers are not 1 to {len(numbers)} without a gap: {numbers}")
    for file in files:
        found += [f"{file.name}: {fault}" for fault in faults_of(file, root)]
    return found


def faults_of(file: Path, root: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    found = []
    if not re.match(rf"# {re.escape(file.name[:4])} \S.{{8,}}\n", text):
        found.append("does not open with '# NNNN <the decision as a sentence>'")
    if not re.search(rf"^- Status: ({STATUSES})$", text, re.MULTILINE):
        found.append("has no '- Status: accepted' (or proposed, or superseded by NNNN)")
    if not re.search(r"^- Date: 20\d\d-\d\d-\d\d$", text, re.MULTILINE):
        found.append("has no '- Date: YYYY-MM-DD'")
    if (sections := re.findall(r"^## (.+)$", text, re.MULTILINE)) != SECTIONS:
        found.append(f"has the sections {sections} where {SECTIONS} are due")
    checks = text.partition("\n## Checks\n")[2]
    references = _REFERENCE.findall(checks)
    if not references:
        found.append("names no test, bench or make target under Checks")
    makefile = (root / "Makefile").read_text() if (root / "Makefile").is_file() else ""
    for test, target, bench in references:
        if target and f"\n{target}:" not in makefile:
            found.append(f"names the make target {target}, which does not exist")
        if (path := test or bench) and not any(root.glob(path.rstrip("/") + "*")):
            found.append(f"names {path}, which does not exist")
    return found


def test_every_decision_has_its_form_and_its_number():
    assert (ROOT / "docs/adr").is_dir()
    assert faults(ROOT) == []


GOOD = """# 0001 Packages are flat and a test guards their names

- Status: accepted
- Date: 2026-11-01

## Context

## Decision

## Consequences

## Alternatives

## Checks

`tests/house/test_adr.py`, `make check`.
"""


def test_a_decision_in_good_form_passes(tmp_path):
    plant(tmp_path, {"Makefile": "\ncheck:\n", "tests/house/test_adr.py": "", "docs/adr/0001-flat.md": GOOD})
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0002-flat.md", GOOD.replace("0001", "0002")),
        ("1-flat.md", GOOD),
        ("0001-flat.md", GOOD.replace("# 0001 Packages", "# Packages")),
        ("0001-flat.md", GOOD.replace("accepted", "maybe")),
        ("0001-flat.md", GOOD.replace("2026-11-01", "soon")),
        ("0001-flat.md", GOOD.replace("## Alternatives\n\n", "")),
        ("0001-flat.md", GOOD.replace("`tests/house/test_adr.py`, `make check`.", "None.")),
        ("0001-flat.md", GOOD.replace("test_adr.py", "test_missing.py")),
        ("0001-flat.md", GOOD.replace("make check", "make wish")),
    ],
)
def test_a_decision_out_of_form_is_found(tmp_path, name, text):
    plant(tmp_path, {"Makefile": "\ncheck:\n", "tests/house/test_adr.py": "", f"docs/adr/{name}": text})
    assert len(faults(tmp_path)) >= 1
