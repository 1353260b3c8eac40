"""`milkrun tenant` and `milkrun device` as a person and as a script run them."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Milkrun, environment_on, milkrun_in
from tests.conftest import DatabaseUrls

pytestmark = pytest.mark.db


@pytest.fixture
def milkrun(database: DatabaseUrls, tmp_path: Path) -> Milkrun:
    return milkrun_in(environment_on(database, tmp_path / "data"))


@pytest.fixture(scope="module")
def with_acme(module_database: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory) -> Milkrun:
    """For commands that change nothing: tenant acme is there."""
    run = milkrun_in(environment_on(module_database, tmp_path_factory.mktemp("data")))
    run("tenant", "add", "acme")
    return run


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_device_is_added_shown_suspended_renewed_and_revoked(milkrun: Milkrun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert milkrun("tenant", "add", "acme").stdout == "tenant acme added\n"
    said = milkrun("device", "add", "acme", "truck-17", "--out", str(out), "--type", "gps", "--label", "depot=north")
    assert said.stdout == f"acme:truck-17 is active; its files are in {out}\n"
    assert said.stderr == ""
    assert names(out) == ["ca.crt", "device.crt", "device.key"]
    assert stat.S_IMODE((out / "device.key").stat().st_mode) == 0o600
    assert "depot=north" in milkrun("device", "list", "acme", "--label", "depot=north").stdout

    assert "is suspended; certificates: 1 held" in milkrun("device", "suspend", "acme", "truck-17").stdout
    again = milkrun("device", "suspend", "acme", "truck-17", code=1)
    assert again.stdout == ""
    assert "acme:truck-17 is suspended and cannot become suspended" in again.stderr
    assert "1 active" in milkrun("device", "resume", "acme", "truck-17").stdout
    assert "1 active, 1 superseded" in milkrun("device", "renew", "acme", "truck-17", "--out", str(out)).stdout
    milkrun("device", "revoke", "acme", "truck-17", "--reason", "key-compromise")
    shown = json.loads(milkrun("device", "show", "acme", "truck-17", "--json").stdout)
    assert (shown["thing"], shown["status"], shown["labels"]) == ("acme:truck-17", "pending", {"depot": "north"})
    assert [(c["status"], c["reason"]) for c in shown["certificates"]] == [("revoked", "key_compromise")] * 2
    assert "device-ca.crl" in names(tmp_path / "data" / "ca")
    milkrun("device", "decommission", "acme", "truck-17")
    milkrun("device", "renew", "acme", "truck-17", "--out", str(out), code=1)


def test_many_devices_get_a_folder_each(milkrun: Milkrun, tmp_path: Path) -> None:
    milkrun("tenant", "add", "acme")
    out = tmp_path / "out"
    milkrun("device", "add", "acme", "truck", "--count", "150", "--out", str(out))
    assert names(out)[::149] == ["truck-00001", "truck-00150"]
    assert all(names(folder) == ["ca.crt", "device.crt", "device.key"] for folder in out.iterdir())
    assert len(json.loads(milkrun("device", "list", "acme", "--json").stdout)) == 150
    other = tmp_path / "other"
    assert (
        "nothing was added"
        in milkrun("device", "add", "acme", "truck", "--count", "3", "--out", str(other), code=1).stderr
    )
    assert not other.exists()


def test_a_csv_file_lands_but_for_its_bad_lines(milkrun: Milkrun, tmp_path: Path) -> None:
    milkrun("tenant", "add", "acme")
    milkrun("device", "add", "acme", "old")
    file = tmp_path / "devices.csv"
    file.write_text("device,type,depot\ntruck-1,gps,north\nb b,,\nold,,\ntruck-2,,\n")
    said = milkrun("device", "import", "acme", str(file), "--out", str(tmp_path / "out"), code=2)
    assert said.stdout == f"2 devices added, a folder each in {tmp_path / 'out'}\n"
    assert [line.split(": ")[0] for line in said.stderr.splitlines()] == [f"{file}:3", f"{file}:4"]
    assert "1 to 64 characters of A-Z" in said.stderr
    assert names(tmp_path / "out") == ["truck-1", "truck-2"]
    report = json.loads(milkrun("device", "import", "acme", str(file), "--json", code=2).stdout)
    assert report["added"] == 0
    assert [bad["line"] for bad in report["bad"]] == [2, 3, 4, 5]


def test_a_device_that_keeps_its_key_gets_a_certificate_alone(milkrun: Milkrun, tmp_path: Path) -> None:
    milkrun("tenant", "add", "acme")
    script = Path(__file__).parents[2] / "certs" / "make-csr.sh"
    subprocess.run(["sh", script, "acme:truck-1", tmp_path], check=True, capture_output=True)
    milkrun("device", "add", "acme", "truck-1", "--csr", str(tmp_path / "device.csr"), "--out", str(tmp_path / "out"))
    assert names(tmp_path / "out") == ["ca.crt", "device.crt"]
    (tmp_path / "bad.csr").write_text("no request")
    refused = milkrun(
        "device", "add", "acme", "truck-2", "--csr", str(tmp_path / "bad.csr"), "--out", str(tmp_path / "o"), code=2
    )
    assert "not a PEM certificate signing request" in refused.stderr


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        (("tenant", "add", "Acme!"), "use 2 to 32 characters of a-z, 0-9 and '-'", 2),
        (("tenant", "add", "acme"), "tenant acme exists already", 1),
        (("device", "add", "acme", "a/b"), "use 1 to 64 characters", 2),
        (("device", "add", "acme", "a", "--label", "x"), "key=value", 2),
        (("device", "add", "acme", "a", "--count", "0"), "1 to 100000", 2),
        (("device", "add", "acme", "a", "--count", "x"), "integer", 2),
        (("device", "add", "nope", "a"), "there is no tenant nope", 1),
        (("device", "add", "acme", "a", "--out", "/dev/null/x"), "Not a directory", 1),
        (("device", "show", "acme", "a"), "there is no device acme:a", 1),
        (("device", "revoke", "acme", "a", "--reason", "certificate_hold"), "use one of unspecified", 2),
        (("device", "list", "acme", "--status", "gone"), "'pending'", 2),
        (("device", "import", "acme", "/no/such.csv"), "does not exist", 2),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_what_is_allowed(with_acme: Milkrun, args, said, code) -> None:
    done = with_acme(*args, code=code)
    assert done.stdout == ""
    assert said in " ".join(done.stderr.replace("│", " ").split())
