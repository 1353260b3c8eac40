"""Road graphs for OSRM in this process, built once from an OSM extract and kept on disk.

The profile is the car profile of the `osrm-bindings` wheel. Building calls the wheel's own programs (extract,
partition, customize), for they print and can die; only queries run in this process.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import osrm

from eta.routing.errors import MapUnbuildable

_PACKAGE = Path(osrm.__file__).parent
_PROFILE = _PACKAGE / "share" / "profiles" / "car.lua"
_SUFFIXES = (".osm", ".osm.pbf", ".osm.bz2")
_GRAPH = "roads.osrm"
# Written last into a finished build; what lacks it is the leftover of a build that died.
_DONE = "done"


def build(osm_path: Path, out_dir: Path) -> Path:
    """Make (or find) the road graph of an `.osm`, `.osm.pbf` or `.osm.bz2` file; gives the path that OSRM opens.

    The graph lies in `out_dir` under a hash of the file, the profile and the engine's version, so a second call with
    the same file is instant and a changed file never meets an old graph. Blocks (about a second for a small country):
    from async code call it in a thread. Raises MapUnbuildable with the engine's last words.
    """
    suffix = next((s for s in _SUFFIXES if osm_path.name.endswith(s)), None)
    if suffix is None:
        raise MapUnbuildable(f"{osm_path.name}: a road extract ends in one of {', '.join(_SUFFIXES)}")
    if not osm_path.is_file():
        raise MapUnbuildable(f"{osm_path}: no such file")
    if any(suffix in str(out_dir.resolve()) for suffix in (".osm", ".osrm")):
        # The engine cuts a path at what looks like a suffix of its own, wherever it stands.
        raise MapUnbuildable(
            f"{out_dir.resolve()}: the folder of road graphs must have no '.osm' or '.osrm' in its path"
        )
    home = out_dir / _fingerprint(osm_path)
    if (home / _DONE).exists():
        return home / _GRAPH
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=out_dir) as workshop:
        shop = Path(workshop)
        source = shop / f"roads{suffix}"
        source.symlink_to(osm_path.resolve())
        _run("osrm-extract", shop, "--profile", str(_PROFILE), source.name)
        _run("osrm-partition", shop, _GRAPH)
        _run("osrm-customize", shop, _GRAPH)
        source.unlink()
        (shop / _DONE).touch()
        _publish(shop, home)
    return home / _GRAPH


def _fingerprint(osm_path: Path) -> str:
    digest = hashlib.sha256(f"osrm {version('osrm-bindings')} mld\n".encode())
    digest.update(_PROFILE.read_bytes())
    with osm_path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()[:20]


def _run(program: str, folder: Path, *arguments: str) -> None:
    threads = str(min(4, os.cpu_count() or 1))
    done = subprocess.run(
        [str(_PACKAGE / "bin" / program), "--threads", threads, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        last_words = "; ".join(done.stdout.strip().splitlines()[-3:])
        raise MapUnbuildable(f"{program} ended with {done.returncode}: {last_words}")


def _publish(shop: Path, home: Path) -> None:
    """Move a finished build into place; where another process was first, its build is the same and stays."""
    if home.exists() and not (home / _DONE).exists():
        shutil.rmtree(home, ignore_errors=True)
    try:
        shop.rename(home)
    except OSError:
        if not (home / _DONE).exists():
            raise
        return
    shop.mkdir()
