"""Why a message, or one sample of it, was not stored: the label of the counter and of the dead letter.

A value never changes once published: alerts, dead letters and device firmware rely on it (docs/device-contract.md).
"""

import enum
from dataclasses import dataclass, replace

MAX_DETAIL_CHARS = 400


class Reason(enum.StrEnum):
    # Who and where from.
    BAD_TOPIC = "bad_topic"  # the topic names no message Milkrun takes
    UNKNOWN_THING = "unknown_thing"  # no such device is registered
    INACTIVE_THING = "inactive_thing"  # registered, but pending, suspended or decommissioned
    THROTTLED_DEVICE = "throttled_device"  # the device sends faster than it may
    THROTTLED_TENANT = "throttled_tenant"  # the tenant's devices together send faster than they may

    # The payload as a whole.
    TOO_LARGE = "too_large"  # more bytes than a message may have
    EMPTY = "empty"  # no bytes, or an array without samples
    MALFORMED = "malformed"  # not JSON, CBOR, a query string: whatever the topic promised
    TOO_DEEP = "too_deep"  # nested deeper than any sample needs
    TOO_MANY_SAMPLES = "too_many_samples"  # more samples than a message may carry
    ENCRYPTED = "encrypted"  # encrypted by the app with a key that is not ours
    NOT_TELEMETRY = "not_telemetry"  # understood, and nothing to store: a last will, a list of waypoints

    # One sample: its form.
    BAD_TYPE = "bad_type"  # a value of another type than the field has
    UNKNOWN_FIELD = "unknown_field"  # an unknown field that is no scalar, so it cannot be kept as a metric
    MISSING_FIELD = "missing_field"  # a position without its latitude or longitude, an object without its type
    MISSING_TS = "missing_ts"  # no time of measurement
    BAD_NAME = "bad_name"  # a metric's name has characters a name may not have
    BAD_TEXT = "bad_text"  # a text is too long, or has characters that cannot be stored
    TOO_MANY_METRICS = "too_many_metrics"  # more named signals than a sample may carry

    # One sample: its content.
    OUT_OF_RANGE = "out_of_range"  # a number no truck can measure, NaN and infinity included
    NULL_ISLAND = "null_island"  # latitude and longitude both 0: a receiver without a fix
    TOO_OLD = "too_old"  # measured longer ago than history is taken
    IN_FUTURE = "in_future"  # measured later than now: the device's clock is wrong

    # Quarantine: well formed, and not believed.
    IMPLIED_SPEED = "implied_speed"  # too far from the last position for the time between
    SEQ_REUSED = "seq_reused"  # a seq of this boot again, with another content
    IDENTICAL_REPLAY = "identical_replay"  # the content of an earlier sample again, under a new name

    # Ours, not the device's.
    POISON_ROW = "poison_row"  # the database refused this row alone


# Kept for a human to look at, because the device may be stolen, cloned or lying rather than broken.
QUARANTINED = frozenset({Reason.IMPLIED_SPEED, Reason.SEQ_REUSED, Reason.IDENTICAL_REPLAY})

# Counted, and no dead letter: nothing was lost.
IGNORED = frozenset({Reason.NOT_TELEMETRY})


@dataclass(frozen=True, slots=True)
class Rejection:
    """What was wrong and what is allowed. `detail` is fit for a text column and a terminal: bounded, printable.

    `payload` holds the rejected sample where it is a part of the message; None means the whole message. `boot` and
    `seq` are the name the device gave the rejected sample, as far as a decoder could read it; seq None means no name.
    """

    reason: Reason
    detail: str
    payload: bytes | None = None
    boot: str = ""
    seq: int | None = None


class Reject(Exception):
    """Raised inside a decoder; carries the verdict."""

    def __init__(self, reason: Reason, detail: str) -> None:
        detail = printable(detail)
        super().__init__(reason, detail)
        self.rejection = Rejection(reason, detail)

    def named(self, boot: str, seq: int | None) -> "Reject":
        """The same verdict, on the sample that the device calls so."""
        self.rejection = replace(self.rejection, boot=boot, seq=seq)
        return self


def printable(text: str) -> str:
    """`text` with whatever cannot be stored or shown escaped, at most MAX_DETAIL_CHARS long."""
    text = text[:MAX_DETAIL_CHARS]
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")[:MAX_DETAIL_CHARS]
