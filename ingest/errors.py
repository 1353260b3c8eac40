"""What can go wrong in ingest beyond a bad message, which is no error but a dead letter."""

from core.errors import Conflict, Invalid, NotFound


class StateMoved(Conflict):
    """Another worker wrote a device of this batch meanwhile; the batch is judged again on the new state."""

    code = "state_moved"


class NoSuchLetter(NotFound):
    """No dead letter has this id."""

    code = "no_such_letter"


class NotReplayable(Invalid):
    """A dead letter of the bus: its handler gave up, and no device message can be made of it."""

    code = "not_replayable"
