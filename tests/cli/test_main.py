"""The command line itself: what it lists, how it fails, what it imports."""

import os
import subprocess
import sys

import pytest

from cli import main
from core.errors import Conflict, Invalid


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "cli.main", *arguments),
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_listed_command_can_be_loaded_and_explains_itself(name: str) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert f"milkrun {name}" in shown.stdout or f"main {name}" in shown.stdout


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys; from cli import main; sys.argv = ['milkrun', '--help']\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print({'psycopg', 'sqlalchemy', 'cryptography', 'provisioning', 'broker'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, entry in main.COMMANDS.items():
        assert name in shown.stdout
        assert entry.help[:30] in shown.stdout
    assert shown.stdout.strip().endswith("set()")


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    refused = run("up", "--data", "/nonexistent", MILKRUN_REDIS_URI="redis://typo")
    assert refused.returncode == 2
    assert refused.stderr.startswith("milkrun: MILKRUN_REDIS_URI is no setting; allowed here: MILKRUN_REDIS_URL")
    assert len(refused.stderr.splitlines()) == 1


def test_debug_shows_where_an_error_came_from() -> None:
    refused = run("--debug", "up", "--data", "/nonexistent", MILKRUN_REDIS_URI="redis://typo")
    assert refused.returncode == 1
    assert "Traceback" in refused.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Invalid("wrong"), 2, "milkrun: wrong\n"),
        (Conflict("twice"), 1, "milkrun: twice\n"),
        (ZeroDivisionError("oops"), 1, "milkrun: ZeroDivisionError: oops (--debug shows where)\n"),
    ],
)
def test_errors_end_as_one_line_and_an_exit_code(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.delenv("MILKRUN_DEBUG", raising=False)
    with pytest.raises(SystemExit) as exit_:
        main.main()
    assert exit_.value.code == code
    assert capsys.readouterr().err == said
