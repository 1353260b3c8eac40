"""Who owns what. A `TenantId` or `DeviceId` is made here or not at all, so code holding one holds a checked name."""

import re
from dataclasses import dataclass
from typing import NewType

from core.errors import Invalid

TenantId = NewType("TenantId", str)
DeviceId = NewType("DeviceId", str)

# `\Z` and not `$`: `$` would let a trailing newline through, and the name becomes a certificate's CN and a topic level.
_TENANT = re.compile(r"[a-z0-9-]{2,32}\Z")
_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class InvalidName(Invalid):
    """A tenant, device or thing name that breaks the naming rule."""

    code = "invalid_name"


def tenant_id(text: str) -> TenantId:
    """Raises InvalidName unless `text` is 2 to 32 characters of a-z, 0-9 and '-'."""
    if not _TENANT.match(text):
        raise InvalidName(f"tenant name {text[:80]!r} is not allowed: use 2 to 32 characters of a-z, 0-9 and '-'")
    return TenantId(text)


def device_id(text: str) -> DeviceId:
    """Raises InvalidName unless `text` is 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'."""
    if not _DEVICE.match(text):
        raise InvalidName(
            f"device name {text[:80]!r} is not allowed: use 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'"
        )
    return DeviceId(text)


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """A device by its full name. `str(thing)` is `{tenant}:{device}`: the CN, the MQTT client id, one topic level."""

    tenant: TenantId
    device: DeviceId

    def __str__(self) -> str:
        return f"{self.tenant}:{self.device}"

    @staticmethod
    def parse(name: str) -> "Thing":
        """The thing called `name`; raises InvalidName with the part that is wrong.

        >>> Thing.parse("acme:truck-17").device
        'truck-17'
        """
        tenant, colon, device = name.partition(":")
        if not colon:
            raise InvalidName(f"thing name {name[:80]!r} has no ':': it is written tenant:device")
        return Thing(tenant_id(tenant), device_id(device))

    @staticmethod
    def is_name(name: str) -> bool:
        """Whether `name` could be a thing's."""
        tenant, _, device = name.partition(":")
        return bool(_TENANT.match(tenant) and _DEVICE.match(device))
