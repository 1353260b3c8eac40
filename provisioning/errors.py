"""What provisioning refuses, each with the code that clients rely on."""

from core.errors import Conflict, Invalid, NotFound, Unavailable


class TenantNotFound(NotFound):
    """No such tenant."""

    code = "tenant_not_found"


class TenantExists(Conflict):
    """The tenant name is taken."""

    code = "tenant_exists"


class DeviceNotFound(NotFound):
    """No such device in this tenant; a device of another tenant reads the same."""

    code = "device_not_found"


class DeviceExists(Conflict):
    """At least one of the device names is taken; nothing was added."""

    code = "device_exists"


class VersionMoved(Conflict):
    """Somebody changed it since the version the caller has seen."""

    kind = "precondition_failed"
    code = "precondition_failed"


class MoveNotAllowed(Conflict):
    """The device's state does not allow this."""

    code = "move_not_allowed"


class CertificateNotFound(NotFound):
    """The device never had a certificate with this serial."""

    code = "certificate_not_found"


class InvalidDevice(Invalid):
    """A device's type, label or count is outside what is allowed."""

    code = "invalid_device"


class InvalidTenant(Invalid):
    """A tenant's display name or retention is outside what is allowed."""

    code = "invalid_tenant"


class InvalidRequest(Invalid):
    """A certificate signing request that cannot be honoured."""

    code = "invalid_csr"


class InvalidHost(Invalid):
    """Neither a host name nor an IP address, or no service name."""

    code = "invalid_host"


class InvalidManifest(Invalid):
    """A device list (CSV) that cannot be read at all."""

    code = "invalid_manifest"


class CaDamaged(Unavailable):
    """The certificate authority's files contradict each other; it issues nothing until a person decides."""

    code = "ca_damaged"


class FolderTaken(Conflict):
    """The folder for a certificate holds another device's."""

    code = "folder_taken"
