"""What can go wrong when Milkrun is started on one machine."""

from core.errors import Conflict, Unavailable


class PortTaken(Conflict):
    """A port that was asked for is in use by another program."""

    code = "port_taken"


class DiskFull(Unavailable):
    """The disk that holds the data folder has no room left."""

    code = "disk_full"


class StartFailed(Unavailable):
    """A part of the stack did not start; the message ends with its last log lines."""

    code = "start_failed"


class DataVersion(Conflict):
    """The data folder was written by another PostgreSQL major version."""

    code = "data_version"


class CannotRunAsRoot(Unavailable):
    """We are root, PostgreSQL refuses root, and no unprivileged user could be used instead."""

    code = "cannot_run_as_root"


class AlreadyRunning(Conflict):
    """A stack runs in this data folder."""

    code = "already_running"


class NotRunning(Unavailable):
    """No stack runs in this data folder and the environment names no database."""

    code = "not_running"
