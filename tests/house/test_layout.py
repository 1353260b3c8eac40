"""Flat packages at the top level, and the traps that come with generic names (docs/adr)."""

import importlib
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, ROOT, plant, tracked

DISTRIBUTION = "milkrun"
NOT_PACKAGES = {"tests", "bench", "docs", "scripts", "certs", "terraform", "deploy", "console"}


def foreign_owners(owners: dict[str, list[str]]) -> dict[str, list[str]]:
    """Our package names that an installed distribution ships too: with an editable install it silently wins."""
    return {name: owners[name] for name in PACKAGES if set(owners.get(name, ())) - {DISTRIBUTION}}


def without_a_paragraph(root: Path) -> list[str]:
    found = []
    for name in PACKAGES:
        file = root / name / "__init__.py"
        text = file.read_text(encoding="utf-8").lstrip() if file.is_file() else ""
        lines = text.split('"""')[1].strip().splitlines() if text.startswith('"""') else []
        if len(" ".join(lines).split()) < 15:
            found.append(f"{name}/__init__.py does not say what the package is, takes, gives and owns")
    return found


def not_listed(root: Path) -> list[str]:
    """Top-level folders with Python that pyproject.toml does not ship."""
    folders = {file.parent.name for file in root.glob("*/__init__.py")}
    return sorted(folders - set(PACKAGES) - NOT_PACKAGES)


def folders_without_init(root: Path, below: str) -> list[str]:
    return sorted(
        {
            file.parent.relative_to(root).as_posix()
            for file in (root / below).rglob("*.py")
            if not (file.parent / "__init__.py").is_file()
        }
    )


def shadows(root: Path) -> list[str]:
    """Top-level names that hide a module of Python's own."""
    names = {path.stem for path in root.iterdir() if path.is_dir() or path.suffix == ".py"}
    return sorted(names & set(sys.stdlib_module_names))


def badly_named(files: list[str]) -> list[str]:
    vague = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "data", "info"}
    return [name for name in files if name.endswith(".py") and vague & set(Path(name).with_suffix("").parts)]


def test_every_package_opens_with_a_paragraph_on_what_it_is():
    assert without_a_paragraph(ROOT) == []


def test_a_package_without_its_paragraph_is_found(tmp_path):
    plant(tmp_path, {"core/__init__.py": '"""Core."""\n'})
    assert len(without_a_paragraph(tmp_path)) == len(PACKAGES)


def test_every_package_is_listed_and_every_listed_package_is_there():
    assert not_listed(ROOT) == []
    assert [name for name in PACKAGES if not (ROOT / name / "__init__.py").is_file()] == []


def test_an_unlisted_package_is_found(tmp_path):
    assert not_listed(plant(tmp_path, {"eta2/__init__.py": "", "tests/__init__.py": ""})) == ["eta2"]


def test_every_package_is_imported_from_this_checkout():
    for name in PACKAGES:
        file = importlib.import_module(name).__file__
        assert file is not None
        assert Path(file).resolve().is_relative_to(ROOT), f"{name} comes from {file}"


def test_no_dependency_ships_one_of_our_package_names():
    assert foreign_owners(dict(packages_distributions())) == {}


def test_an_intruder_with_our_name_is_found():
    assert foreign_owners({"broker": ["milkrun", "satellite-broker"], "core": ["milkrun"]}) == {
        "broker": ["milkrun", "satellite-broker"]
    }


def test_tests_are_packages_at_every_level():
    assert folders_without_init(ROOT, "tests") == []
    for name in PACKAGES:
        assert folders_without_init(ROOT, name) == []


def test_a_test_folder_that_is_no_package_is_found(tmp_path):
    plant(tmp_path, {"tests/__init__.py": "", "tests/core/test_x.py": ""})
    assert folders_without_init(tmp_path, "tests") == ["tests/core"]


def test_no_top_level_name_hides_a_module_of_python():
    assert shadows(ROOT) == []


def test_a_name_of_the_standard_library_is_found(tmp_path):
    assert shadows(plant(tmp_path, {"queue/__init__.py": "", "secrets.py": "", "core/queue.py": ""})) == [
        "queue",
        "secrets",
    ]


def test_no_file_has_a_name_that_says_nothing():
    assert badly_named(tracked()) == []


@pytest.mark.parametrize("name", ["core/utils.py", "ingest/helpers/x.py", "cli/manager.py"])
def test_a_name_that_says_nothing_is_found(name):
    assert badly_named([name]) == [name]
