"""The telemetry model every decoder yields and every consumer reads. SI units throughout."""

import msgspec

type Scalar = bool | int | float | str


class Position(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One fix. Degrees (WGS 84), metres, m/s; heading in degrees clockwise from north. None = not reported."""

    lat: float
    lon: float
    alt: float | None = None
    speed: float | None = None
    heading: float | None = None
    acc: float | None = None
    sats: int | None = None
    hdop: float | None = None


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device measured at one instant; field names are those of the wire (docs/device-contract.md).

    `ts` is epoch milliseconds UTC of the measurement. `boot` and `seq` are the device's own name for the sample: a
    boot id and a counter within it; together they make redelivery harmless. `m` holds named signals.
    """

    ts: int
    boot: str = ""
    seq: int | None = None
    pos: Position | None = None
    m: dict[str, Scalar] | None = None


class DeviceEvent(msgspec.Struct, frozen=True):
    """A discrete event a device reports on its event topic, such as a panic button or a door alarm."""

    ts: int
    type: str
    boot: str = ""
    seq: int | None = None
    data: dict[str, object] | None = None
