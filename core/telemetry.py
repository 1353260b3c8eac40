"""The telemetry model every decoder yields and every consumer reads. SI units throughout."""

from typing import Annotated

import msgspec

type Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
type Scalar = bool | Int64 | float | str


class Position(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One fix. Degrees (WGS 84), metres, m/s; heading in degrees clockwise from north. None = not reported."""

    lat: float
    lon: float
    alt: float | None = None
    speed: float | None = None
    heading: float | None = None
    acc: float | None = None
    sats: Int64 | None = None
    hdop: float | None = None


class Sample(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What a device measured at one instant; field names are those of the wire (docs/device-contract.md).

    `ts` is epoch milliseconds UTC of the measurement. `boot` and `seq` are the device's own name for the sample: a
    boot id and a counter within it; together they make redelivery harmless. `m` holds named signals.
    """

    ts: Int64
    boot: str = ""
    seq: Int64 | None = None
    pos: Position | None = None
    m: dict[str, Scalar] | None = None


class DeviceEvent(msgspec.Struct, frozen=True):
    """A discrete event a device reports on its event topic, such as a panic button or a door alarm."""

    ts: Int64
    type: str
    boot: str = ""
    seq: Int64 | None = None
    data: dict[str, object] | None = None
