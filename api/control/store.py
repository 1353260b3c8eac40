"""Which devices a filter means, for groups."""

from api.search import language
from api.search import store as searched
from core import sql
from core.clock import Clock
from core.db import TenantTx
from core.tenancy import DeviceId, device_id

_SQL = sql.load("api.control")
_WHERE = "/* where */ true"


class FleetSearch:
    """The search of GET /v1/devices, as commands.groups asks for it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def devices(self, tx: TenantTx, where: str, *, limit: int) -> list[DeviceId]:
        """Those in service, by name. Raises InvalidWhere."""
        clause = searched.clause(language.parse(where), self._clock())
        query = _SQL["matching"].replace(_WHERE, clause.text)
        rows = await tx.all(query, {**clause.params, "tenant": tx.tenant, "limit": limit})
        return [device_id(row["device_id"]) for row in rows]
