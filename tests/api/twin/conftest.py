"""Two tenants with devices, and clients of their admins."""

from tests.api.fleet.conftest import Fleet, fleet

__all__ = ["Fleet", "fleet"]
