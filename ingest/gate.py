"""Who may send, and how much: the registry as ingest knows it, and the rate limits.

The limits are GCRA (a token bucket that keeps one number, the theoretical arrival time of the next message).
"""

from dataclasses import dataclass, field

from core.errors import Invalid
from core.settings import IngestSettings
from core.tenancy import Thing
from ingest import rows
from ingest.model import DeviceState

ACTIVE = "active"
UNKNOWN_FOR_S = 5.0
"""A refusal as unknown is remembered so long, so that a stranger's flood does not reach the database."""

LETTERS_PER_MINUTE = 600
"""Throttled messages of one device kept as dead letters; the rest is counted, and not confirmed as durable."""


@dataclass(slots=True)
class Limit:
    """`interval_s` a message, `burst_s` of credit. `due` is the theoretical arrival time on the caller's clock."""

    interval_s: float
    burst_s: float
    due: float = 0.0

    @staticmethod
    def of(rate: float, burst: int) -> "Limit":
        if rate <= 0 or burst < 1:
            raise Invalid(f"a limit needs a rate above 0 and a burst of at least 1, not {rate} and {burst}")
        # A thousandth of a message of slack: rounding must not cost the last one of a burst.
        return Limit(1.0 / rate, (burst - 0.999) / rate)

    def take(self, now_s: float) -> bool:
        """Whether one more message conforms now; if so it is counted."""
        due = max(self.due, now_s)
        if due - now_s > self.burst_s:
            return False
        self.due = due + self.interval_s
        return True


@dataclass(slots=True)
class Tenant:
    name: str
    limit: Limit


@dataclass(slots=True)
class Known:
    """A registered device as ingest sees it. `status` None: asked for and not registered, until `expires_at`.

    `ident` is its tenant and device as `ingest.rows` writes them, made once.
    """

    thing: Thing
    name: str
    tenant: Tenant | None
    status: str | None
    partition: int
    limit: Limit
    letters: Limit
    ident: bytes
    expires_at: float = 0.0
    state: DeviceState | None = None


@dataclass(slots=True)
class Registry:
    """The devices seen so far by name. Filled by the store; changes of state arrive through `update`."""

    settings: IngestSettings
    things: dict[str, Known] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)

    def add(self, thing: Thing, *, status: str | None, has_tenant: bool, partition: int, now_s: float) -> Known:
        name, settings = str(thing), self.settings
        tenant = None
        if has_tenant:
            tenant = self.tenants.get(thing.tenant)
            if tenant is None:
                tenant = Tenant(thing.tenant, Limit.of(settings.tenant_rate, settings.tenant_burst))
                self.tenants[thing.tenant] = tenant
        known = self.things.get(name)
        if known is None:
            known = Known(
                thing=thing,
                name=name,
                tenant=tenant,
                status=status,
                partition=partition,
                limit=Limit.of(settings.device_rate, settings.device_burst),
                letters=Limit.of(LETTERS_PER_MINUTE / 60, LETTERS_PER_MINUTE),
                ident=rows.text(thing.tenant) + rows.text(thing.device),
            )
            self.things[name] = known
        known.tenant, known.status = tenant, status
        known.expires_at = float("inf") if status is not None else now_s + UNKNOWN_FOR_S
        return known

    def get(self, name: str, now_s: float) -> Known | None:
        """The device, or None when the store must be asked."""
        known = self.things.get(name)
        if known is None or known.expires_at < now_s:
            return None
        return known

    def update(self, name: str, status: str) -> None:
        """A device's state changed in the registry."""
        known = self.things.get(name)
        if known is not None:
            known.status, known.expires_at = status, float("inf") if known.tenant else 0.0
