"""PostgreSQL refuses to run as root. When we are root, its files and processes belong to an unprivileged user."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from cli.stack.errors import CannotRunAsRoot
from cli.stack.process import RunAs

_USERS = ("milkrun", "postgres")


def run_as(data: Path, *programs: Path) -> RunAs | None:
    """Who runs a server on `data`: None for ourselves, else (we are root) an unprivileged user.

    The owner of an existing `data` stays its owner. Where a folder on the way to `data` or to a program is closed to
    that user (a checkout below /root), the capability to pass it is kept rather than any folder opened.
    Raises CannotRunAsRoot.
    """
    if os.geteuid() != 0:
        return None
    user = _user(data)
    closed = [path for path in (data, *programs) if not _reachable(path, user)]
    if closed and sys.platform != "linux":
        raise CannotRunAsRoot(
            f"PostgreSQL refuses to run as root, and user {user.pw_name} may not enter {closed[0]}: "
            "run milkrun as a normal user, or use a folder that user may enter"
        )
    return RunAs(user.pw_uid, user.pw_gid, bypass=bool(closed))


def _user(data: Path) -> pwd.struct_passwd:
    if data.exists() and data.stat().st_uid != 0:
        return pwd.getpwuid(data.stat().st_uid)
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    add = shutil.which("useradd", path=os.defpath + ":/usr/sbin:/sbin")
    if add is None:
        raise CannotRunAsRoot(
            f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_USERS)} to run it as: "
            "run milkrun as a normal user, create such a user, or name a server with MILKRUN_DATABASE_URL"
        )
    subprocess.run([add, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _USERS[0]], check=True)
    return pwd.getpwnam(_USERS[0])


def _reachable(path: Path, user: pwd.struct_passwd) -> bool:
    for folder in path.resolve().parents:
        if not folder.exists():
            continue
        stat = folder.stat()
        if stat.st_uid == user.pw_uid:
            enter = 0o100
        elif stat.st_gid == user.pw_gid:
            enter = 0o010
        else:
            enter = 0o001
        if not stat.st_mode & enter:
            return False
    return True
