"""Run as a script in a fresh interpreter: prepare this process, then become the program.

`launch.py PARENT DEATH_SIGNAL UID GID BYPASS PROGRAM ARGUMENT...`

It stands between `milkrun up` and each child because what it does may not be done in a fork of a threaded process:
ask the kernel for DEATH_SIGNAL when the parent dies (Linux), allow it as many open files as may be, since a connected
device is one, and give up root for UID:GID. With BYPASS=1 the process
keeps CAP_DAC_OVERRIDE, so that a data folder or a virtual environment below /root can be reached.
Only the standard library is used: it starts with -I -S.
"""

import ctypes
import os
import resource
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_OPEN_FILES = 262_144


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid, bypass = (int(a) for a in arguments[:5])
    program = arguments[5:]
    _allow_open_files()
    if uid:
        _become(uid, gid, bypass=bool(bypass))
    # After the change of user: the kernel forgets the death signal when credentials change.
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("parent is gone")
    os.execv(program[0], program)  # noqa: S606  this is the point of the script


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            # macOS has a second, lower limit; then it stays what it is.
            return


def _become(uid: int, gid: int, *, bypass: bool) -> None:
    if bypass:
        # Else the change of user drops all capabilities, and access(2), with which initdb looks for postgres, ignores
        # those that are left.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if bypass:
        _keep_dac_override()


def _keep_dac_override() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << _CAP_DAC_OVERRIDE
    # effective, permitted, inheritable for capabilities 0 to 31, then 32 to 63
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def _prctl(option: int, *values: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(v) for v in (*values, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main(sys.argv[1:])
