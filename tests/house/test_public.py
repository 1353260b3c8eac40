"""What is published names nobody's machine, registry or tracker, and promises nothing it does not hold."""

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, plant, tracked

# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.~-])/(?:work|root|Users|mnt/data|home/(?!user\b|pi\b))/?(?=[\w.-])"),
    "a package registry": re.compile(
        r"https?://(?!pypi\.org\b)[\w.-]*(?:pypi|artifactory|nexus|devpi|jfrog)[\w.-]*", re.IGNORECASE
    ),
    "an index option": re.compile(r"--(?:extra-)?index-url|--trusted-host|--find-links"),
    "an issue number": re.compile(r"(?<![\w&/#\x22'])#\d{1,5}\b(?!\w)|\b[Ii]ssue \d+\b"),
    "an unowned TODO": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b(?!\([a-z][\w-]*\))"),
    "a secret key": re.compile(r"-----BEGIN (?:EC |RSA |ENCRYPTED )?PRIVATE" r" KEY-----\n[A-Za-z0-9+/]"),
}
BINARY = {".png", ".svg", ".ico", ".woff2", ".pbf", ".bin", ".gz"}
THIS_FILE = "tests/house/test_public.py"


def faults(root: Path, files: list[str]) -> list[str]:
    found = []
    for name in files:
        if Path(name).suffix in BINARY or name == THIS_FILE:
            continue
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        for what, pattern in FORBIDDEN.items():
            if what == "a path of one machine" and text.startswith("#!"):
                text = text.split("\n", 1)[-1]
            found += [f"{name}: {what}: {match[0]!r}" for match in pattern.finditer(text)]
    return found


def lock_faults(text: str) -> list[str]:
    """Every requirement is pinned with hashes; nothing says where it was downloaded."""
    found = [f"an address: {match[0]}" for match in re.finditer(r"\S*(?:https?|git\+\w+|file)://\S+", text)]
    lines = [
        line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    pinned = re.compile(r"[A-Za-z0-9._\[\],-]+==[^\s;]+(?:\s*;[^-]+)?\s+(?:--hash=sha256:[0-9a-f]{64}\s*)+(?:#.*)?$")
    found += [f"not pinned with hashes: {line[:60]}" for line in lines if not pinned.match(line)]
    return found if lines else ["no requirement at all"]


def test_nothing_published_names_a_machine_a_registry_or_a_tracker():
    assert faults(ROOT, tracked()) == []


@pytest.mark.parametrize(
    "text",
    [
        "see /work/shared",
        "cd /home/jane/x",
        "https://pypi.example.com/simple",
        "pip install --index-url x",
        "fixes #12",
        "see issue 7",
        "# TODO later",
        "-----BEGIN EC PRIVATE KEY-----\nMHcC",
    ],
)
def test_what_must_not_be_published_is_found(tmp_path, text):
    plant(tmp_path, {"docs/x.md": text})
    assert len(faults(tmp_path, ["docs/x.md"])) == 1


def test_requirements_are_pinned_with_hashes_and_carry_no_address():
    assert lock_faults((ROOT / "requirements.lock").read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis==6.0\n",
        "redis>=6 --hash=sha256:" + "a" * 64,
        "redis @ https://pypi.org/x.whl --hash=sha256:" + "a" * 64,
        "--index-url https://pypi.org/simple\n",
    ],
)
def test_a_loose_requirement_is_found(text):
    assert lock_faults(text) != []
