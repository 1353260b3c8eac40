"""This checkout as the house tests see it; each check also takes a made-up tree, to show that it can fail."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: tuple[str, ...] = tuple(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
)


def sources(root: Path, packages: tuple[str, ...] = PACKAGES) -> Iterator[tuple[str, ast.Module]]:
    """Every Python file of the product: its path below `root`, and its syntax tree."""
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            yield file.relative_to(root).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported; relative imports keep their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def tracked(root: Path = ROOT) -> list[str]:
    """Files git knows, or would know: new ones that nothing ignores count. In an export without git, all files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        skipped = {".venv", "__pycache__", ".milkrun", ".hypothesis", ".ruff_cache", ".mypy_cache", ".pytest_cache"}
        files = (file.relative_to(root) for file in root.rglob("*") if file.is_file())
        return sorted(file.as_posix() for file in files if not skipped & set(file.parts))
    return sorted(name for name in listed.stdout.splitlines() if (root / name).is_file())


def plant(root: Path, files: dict[str, str]) -> Path:
    """A made-up tree below `root`."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root
