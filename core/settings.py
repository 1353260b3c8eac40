"""Every setting, typed and nested; built once per process by `load()` and passed down, never imported as a global.

`MILKRUN_<GROUP>_<KEY>` in the environment wins over the file named by `MILKRUN_CONFIG` (TOML, `[group]` tables), which
wins over the defaults here. A wrong value names its key and what is allowed.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, override

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from core.errors import Invalid

# Read by the command line itself and by the tests, before or beside the settings.
_NO_SETTINGS = frozenset({"MILKRUN_CONFIG", "MILKRUN_DATA", "MILKRUN_DEBUG", "MILKRUN_TEST_DATABASE_URL"})

Port = Annotated[int, Field(ge=0, le=65535)]


class InvalidSettings(Invalid):
    """A setting is wrong; the message names the key and what is allowed."""

    code = "invalid_settings"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Group):
    """PostgreSQL 15 or newer. Three logins besides the owner's, each with the rights of its work and no more."""

    url: str = Field("", description="owner's connection URL: migrates, never serves")
    app_url: str = Field("", description="login of role milkrun_app: serves tenants under row level security")
    ingest_url: str = Field("", description="login of role milkrun_ingest: writes telemetry, reads the registry")
    operator_url: str = Field(
        "", description="login of role milkrun_operator: registry and dead letters of all tenants"
    )
    pool_size: int = Field(8, ge=1, le=200, description="connections a process opens at most")
    statement_timeout_s: float = Field(30.0, gt=0, description="a statement of app or operator ends after this")


class RedisSettings(_Group):
    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// or unix:// URL")


class BusSettings(_Group):
    partitions: int = Field(16, ge=1, le=1024, description="device partitions of each stream; fixed for a deployment")
    max_lag: int = Field(
        1000,
        ge=100,
        description="entries a stream may hold for its slowest group before publishing waits in the outbox",
    )
    retry_limit: int = Field(5, ge=1, le=100, description="deliveries of one entry before it becomes a dead letter")
    reclaim_after_s: float = Field(10.0, ge=1, description="a dead consumer's entries are taken over after this")


class MqttSettings(_Group):
    host: str = Field("127.0.0.1", description="broker's service listener")
    port: Port = Field(8884, description="broker's service listener port")
    ca_file: Path = Field(Path("ca.crt"), description="CA that signed the broker's server certificate")
    cert_file: Path = Field(Path("service.crt"), description="this service's client certificate")
    key_file: Path = Field(Path("service.key"), description="its private key")
    protocol: int = Field(5, ge=4, le=5, description="MQTT 5, or 4 for a 3.1.1-only broker (embedded)")
    share_group: str = Field(
        "", description="shared subscription group of several ingest workers; never with Mosquitto"
    )
    keepalive_s: int = Field(30, ge=5, le=1200, description="MQTT keep-alive of our own connections")


class BrokerSettings(_Group):
    kind: Literal["mosquitto", "amqtt", "aws"] = Field("mosquitto", description="the broker this process watches")
    folder: Path = Field(Path("broker"), description="the broker's own folder: its configuration, log and state")
    crl_file: Path | None = Field(None, description="revocation list the broker loads")
    presence_grace_s: float = Field(3.0, ge=0, le=60, description="a device back within this was never offline")
    presence_days: int = Field(90, ge=1, le=3650, description="the timeline of presence goes back this far")
    presence_turns: int = Field(10_000, ge=100, description="and holds so many turns of a device at most")


class ProvisioningSettings(_Group):
    ca_dir: Path = Field(Path("ca"), description="folder of the development certificate authority")
    certificate_days: int = Field(365, ge=1, le=3650, description="a device certificate is valid this long")
    overlap_hours: float = Field(168.0, ge=0, description="after a renewal the old certificate still works this long")
    crl_days: int = Field(30, ge=1, le=365, description="a broker may go on this long without a new revocation list")
    warn_days: int = Field(30, ge=1, description="a certificate that ends within this is counted as expiring")
    sweep_every_s: float = Field(300.0, gt=0, description="pause between ending overlaps and re-issuing the list")


class IngestSettings(_Group):
    batch_rows: int = Field(5000, ge=1, le=100_000, description="messages a transaction takes at most")
    batch_samples: int = Field(20_000, ge=1, description="samples a transaction takes, but for its last message's")
    batch_wait_ms: int = Field(25, ge=1, le=5000, description="a batch is committed after this at the latest")
    receive_maximum: int = Field(
        15_000, ge=1, le=65_535, description="unacknowledged messages the broker may send ahead"
    )
    waiting_bytes: int = Field(
        33_554_432, ge=1_048_576, description="payload bytes in memory above which the broker is asked to wait"
    )
    max_payload_bytes: int = Field(131_072, ge=256, description="larger payloads are dead letters (AWS IoT: 128 KiB)")
    max_samples: int = Field(1000, ge=1, description="samples one message may carry")
    max_metrics: int = Field(64, ge=1, description="named signals one sample may carry")
    max_age_s: int = Field(7 * 86_400, ge=60, description="older samples are refused")
    max_ahead_s: int = Field(120, ge=1, description="samples further in the future are refused")
    max_speed_mps: float = Field(70.0, gt=1, description="implied speed above this is quarantined")
    live_within_s: int = Field(60, ge=1, description="a newest position older than this on receipt is no live one")
    device_rate: float = Field(1000.0, gt=0, description="messages per second a device may send, sustained")
    device_burst: int = Field(20_000, ge=1, description="messages a device may send at once, such as a backlog")
    tenant_rate: float = Field(100_000.0, gt=0, description="messages per second a tenant may send, sustained")
    tenant_burst: int = Field(400_000, ge=1, description="messages a tenant may send at once")
    registry_refresh_s: float = Field(1.0, gt=0, description="a change of a device's state is seen after this")


class TelemetrySettings(_Group):
    retention_days: int = Field(
        90, ge=1, description="raw rows older than this are dropped unless the tenant keeps less"
    )
    rollup_retention_days: int = Field(730, ge=1, description="rollups older than this are dropped")
    maintenance_every_s: float = Field(60.0, gt=0, description="pause between maintenance runs (native partitions)")


class ShadowSettings(_Group):
    mode: Literal["local", "aws"] = Field(
        "local", description="who keeps the shadows: Milkrun itself, or AWS IoT Core, mirrored here"
    )
    aws_region: str = Field("", description="mode aws: region of AWS IoT Core; empty = as the AWS SDK finds it")
    aws_endpoint_url: str = Field(
        "", description="mode aws: https://<account's prefix>-ats.iot.<region>.amazonaws.com; empty = the region's own"
    )
    aws_timeout_s: float = Field(5.0, gt=0, le=60, description="mode aws: an answer of AWS is waited for this long")
    aws_connections: int = Field(8, ge=1, le=64, description="mode aws: questions a process has open at AWS at once")
    aws_refresh_s: float = Field(
        86_400.0, ge=60, description="mode aws: pause between readings of all shadows, beside the mirror"
    )
    batch_requests: int = Field(500, ge=1, le=10_000, description="shadow requests a transaction takes at most")
    batch_wait_ms: int = Field(5, ge=0, le=1000, description="a request waits for others at most this long")
    receive_maximum: int = Field(
        4000, ge=1, le=65_535, description="unanswered requests the broker may send ahead, all devices together"
    )
    inflight: int = Field(10, ge=1, le=16, description="unanswered requests of one device; more are refused (429)")
    document_bytes: int = Field(
        8192, ge=256, le=65_536, description="desired and reported together, as JSON without metadata (AWS IoT: 8 KB)"
    )
    search_leaves: int = Field(
        256, ge=0, le=10_000, description="values of one shadow that fleet search knows, the first by name; 0 = none"
    )


class CommandsSettings(_Group):
    batch_answers: int = Field(500, ge=1, le=10_000, description="answers of devices a transaction takes at most")
    batch_wait_ms: int = Field(8, ge=0, le=1000, description="an answer waits for others at most this long")
    receive_maximum: int = Field(4000, ge=1, le=65_535, description="unsettled answers the broker may send ahead")
    lanes_at_once: int = Field(200, ge=1, le=5000, description="devices whose queues one look takes at most")
    look_every_s: float = Field(1.0, ge=0.05, le=60, description="pause between looks where nothing calls for one")
    presence_every_s: float = Field(5.0, ge=0.1, description="queues of devices that are back are found after this")
    open_per_device: int = Field(1000, ge=1, description="commands of one device that may wait or be at work")
    group_devices: int = Field(10_000, ge=1, le=100_000, description="devices one group may have")
    approval_s: int = Field(3600, ge=10, description="a command nobody has approved after this expires")
    keep_days: int = Field(180, ge=1, description="ended commands are kept this long (AWS IoT: six months)")


class NotifySettings(_Group):
    daily_cap: int = Field(40, ge=0, le=1000, description="pushes a recipient gets a day unless he says otherwise")
    push_timeout_s: float = Field(10.0, gt=0, le=60, description="an attempt to push is over after this")
    push_at_once: int = Field(64, ge=1, le=1000, description="pushes under way at once, of one process")
    fcm_credentials_file: Path | None = Field(None, description="Google credentials (JSON); unset = no FCM")
    fcm_project: str = Field("", description="Firebase project; empty = the one the credentials name")
    fcm_url: str = Field("https://fcm.googleapis.com", description="where FCM is")
    apns_key_file: Path | None = Field(None, description="Apple's signing key (.p8); unset = no APNs")
    apns_key_id: str = Field("", description="id of that key")
    apns_team_id: str = Field("", description="Apple developer team")
    apns_topic: str = Field("", description="the app's bundle id")
    apns_url: str = Field("https://api.push.apple.com", description="where APNs is; the sandbox is another")
    webhook_timeout_s: float = Field(15.0, gt=0, le=60, description="a webhook must have answered after this")
    webhook_at_once: int = Field(64, ge=1, le=1000, description="webhooks under way at once, of one process")
    webhook_http: bool = Field(False, description="webhooks may be http:// and not https:// alone")
    webhook_networks: list[IPvAnyNetwork] = Field(
        [], description="networks a webhook may reach although they are not public (JSON list)"
    )
    webhook_disable_days: float = Field(5.0, gt=0, description="a webhook that fails for so long is disabled")
    webhook_overlap_hours: float = Field(
        24.0, ge=0, description="after a rotation the old secret signs along this long"
    )
    secret_key_file: Path = Field(Path("webhooks.key"), description="keys that seal webhooks' secrets; made if missing")
    webhooks_per_tenant: int = Field(20, ge=1, le=1000, description="webhooks of one tenant")
    link_key_file: Path = Field(
        Path("links.key"), description="keys that sign tracking links; made where it is missing"
    )
    link_hours: float = Field(12.0, gt=0, le=168, description="a tracking link lives so long unless it says otherwise")
    link_streams: int = Field(1000, ge=1, description="followers of tracking links one API process serves at once")
    notice_days: float = Field(90.0, ge=1, description="notices are kept this long")
    delivery_days: float = Field(30.0, ge=1, description="settled deliveries are kept this long")


class MapsSettings(_Group):
    osm_file: Path | None = Field(None, description="roads as .osm.pbf, .osm.bz2 or .osm for OSRM in this process")
    folder: Path = Field(Path("maps"), description="folder of road graphs built of it, by content")
    osrm_url: str = Field("", description="an OSRM server such as http://osrm:5000; empty = none")
    osrm_profile: str = Field("driving", pattern="^[A-Za-z0-9_-]{1,32}$", description="profile that server speaks")
    google_key_file: Path | None = Field(
        None, description="file (mode 0600) with a Google Routes API key; unset = never asked"
    )
    google_url: str = Field("https://routes.googleapis.com", description="where Google Routes is asked")
    timeout_s: float = Field(2.0, gt=0, le=60, description="an engine that has not answered after this is slow")
    failures: int = Field(3, ge=1, le=100, description="failures in a row after which an engine is left alone")
    rest_s: float = Field(30.0, gt=0, description="it is left alone this long, doubling up to ten minutes")
    keep_days: int = Field(30, ge=0, le=3650, description="legs are asked anew after this; 0 = none is kept")
    own_trip_calls: int = Field(40, ge=0, description="calls of one trip to engines of your own")
    own_tenant_day_calls: int = Field(50_000, ge=0, description="such calls of one tenant in a day (UTC)")
    paid_trip_calls: int = Field(3, ge=0, description="calls of one trip to engines that bill each")
    paid_tenant_day_calls: int = Field(200, ge=0, description="such calls of one tenant in a day (UTC)")
    paid_day_calls: int = Field(2000, ge=0, description="such calls of all tenants together in a day (UTC)")
    report_days: int = Field(400, ge=31, description="counted calls older than this are dropped")


class EtaSettings(_Group):
    clock_file: Path | None = Field(None, description="says what time it is while a recording is played")
    lead_s: float = Field(3600.0, ge=60, le=86_400, description="a trip is followed from so long before its start")
    late_h: float = Field(12.0, gt=0, le=72, description="a trip that has not begun so long after its start is left")
    refresh_s: float = Field(1.0, gt=0, le=60, description="a person's change of a trip is seen after this")
    save_every_s: float = Field(5.0, gt=0, le=300, description="a trip's newest estimate is kept at most this often")
    age_every_s: float = Field(30.0, ge=1, le=600, description="without a position an estimate is made anew this often")
    silent_h: float = Field(6.0, gt=0, le=72, description="... until so long after the last one")
    redraw_every_s: float = Field(
        60.0, ge=10, description="a trip off its road is given another one this often at most"
    )
    learn_every_s: float = Field(15.0, gt=0, description="pause between looks for trips that ended")
    lessons_of_route: int = Field(60, ge=5, le=1000, description="finished trips of a route that are learned from")
    lessons_of_tenant: int = Field(2000, ge=50, le=20_000, description="the same of all routes of a tenant")


class AccuracySettings(_Group):
    every_s: float = Field(120.0, ge=1, description="pause between judging the trips that have ended")
    settle_minutes: float = Field(
        30.0, ge=0, description="a trip is judged this long after its end, when late fixes are in"
    )
    said_days: int = Field(14, ge=1, le=366, description="what was said of trips is kept this long")
    keep_days: int = Field(730, ge=7, description="how right it was is kept this long")


class ApiSettings(_Group):
    host: str = Field("127.0.0.1", description="address the API listens on")
    port: Port = Field(8080, description="port the API listens on")
    public_url: str = Field("", description="URL clients reach the API by; empty = http://host:port")
    cors_origins: list[str] = Field([], description="origins of other sites whose pages may call the API (JSON list)")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="larger request bodies are refused")
    client_rate: float = Field(50.0, gt=0, description="requests per second of one user, client or key, sustained")
    client_burst: int = Field(200, ge=1, description="requests one user, client or key may send at once")
    tenant_rate: float = Field(500.0, gt=0, description="requests per second of one tenant, sustained")
    tenant_burst: int = Field(2000, ge=1, description="requests one tenant may send at once")
    address_rate: float = Field(
        20.0, gt=0, description="requests per second of one network address, sustained, where nobody is signed in"
    )
    address_burst: int = Field(100, ge=1, description="such requests one network address may send at once")
    trusted_proxies: list[str] = Field(
        [], description="addresses whose X-Forwarded-For and -Proto are believed (JSON list)"
    )
    idempotency_hours: float = Field(24.0, gt=0, description="an Idempotency-Key is remembered this long")


class IdentitySettings(_Group):
    keys_dir: Path = Field(Path("keys"), description="folder of the private keys that sign access tokens")
    issuer: str = Field("", description="`iss` of access tokens; empty = the API's public URL")
    audience: str = Field("milkrun", description="`aud` of access tokens")
    token_ttl_s: int = Field(900, ge=30, le=86_400, description="an access token is good for this long")
    key_lead_s: float = Field(300.0, ge=3, description="a new signing key is published this long before it signs")
    session_idle_s: int = Field(43_200, ge=60, description="a session that is not used for this long is over")
    session_max_s: int = Field(604_800, ge=60, description="a session is over after this, however busy it is")
    login_attempts: int = Field(10, ge=2, le=1000, description="wrong passwords in a row before an account is locked")
    lock_s: int = Field(900, ge=1, description="an account is locked this long; wrong passwords count for as long")
    address_attempts: int = Field(50, ge=1, description="failed sign-ins one network address has per address_window_s")
    address_window_s: int = Field(900, ge=1, description="time in which these come back, evenly")
    secret_overlap_hours: float = Field(
        24.0, ge=0, description="after a rotation a client's old secret works this long"
    )


class LiveSettings(_Group):
    tick_ms: int = Field(50, ge=1, le=1000, description="events of this long travel in one frame")
    history_events: int = Field(50_000, ge=100, description="events kept of a channel, for clients that come back")
    history_s: int = Field(300, ge=10, description="kept this long after a channel's last event or last subscriber")
    recover_events: int = Field(
        10_000, ge=1, description="events replayed to a client that comes back; more: a snapshot"
    )
    conflate_above_bytes: int = Field(
        262_144, ge=4096, description="waiting for a slow client above this: positions become the latest per device"
    )
    queue_bytes: int = Field(4_194_304, ge=8192, description="waiting for a slow client above this: it is cut")
    stall_s: float = Field(10.0, ge=0.5, description="a client that takes nothing for so long is cut")
    ping_s: float = Field(25.0, ge=0.1, description="pause between pings on a live connection")
    recheck_s: float = Field(3.0, ge=0.1, description="pause between looks at the rights of live connections")
    drain_s: float = Field(5.0, ge=0, description="over this long a stopping process asks its clients to come back")
    connections_per_principal: int = Field(50, ge=1, description="live connections of one user, client or key")
    connections_per_tenant: int = Field(5000, ge=1, description="live connections of one tenant")
    subscriptions: int = Field(16, ge=1, le=1000, description="subscriptions of one live connection")


class ConsoleSettings(_Group):
    folder: Path | None = Field(None, description="built console (console/dist); unset = the API serves none")
    tiles_url: str = Field("", description="raster, vector or PMTiles URL of the base map; empty = the basemap file")
    tiles_attribution: str = Field("", description="whom the tile server wants named on the map")
    basemap_file: Path | None = Field(None, description="GeoJSON of roads to draw where there is no tile server")


class LogSettings(_Group):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line written")
    json_lines: bool = Field(True, description="JSON lines; false for colours on a terminal")


class MetricsSettings(_Group):
    host: str = Field("127.0.0.1", description="address the metrics are served on")
    port: Port | None = Field(None, description="metrics port; 0 = any free one, unset = off")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="MILKRUN_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="forbid",
    )

    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    bus: BusSettings = Field(default_factory=BusSettings)
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    provisioning: ProvisioningSettings = Field(default_factory=ProvisioningSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    shadow: ShadowSettings = Field(default_factory=ShadowSettings)
    commands: CommandsSettings = Field(default_factory=CommandsSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    maps: MapsSettings = Field(default_factory=MapsSettings)
    accuracy: AccuracySettings = Field(default_factory=AccuracySettings)
    eta: EtaSettings = Field(default_factory=EtaSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    identity: IdentitySettings = Field(default_factory=IdentitySettings)
    live: LiveSettings = Field(default_factory=LiveSettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get("MILKRUN_CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        return (init_settings, env_settings, *toml)


def load() -> Settings:
    """The settings of this process. Raises InvalidSettings naming every wrong key and what is allowed."""
    file = os.environ.get("MILKRUN_CONFIG")
    if file and not Path(file).is_file():
        raise InvalidSettings(f"MILKRUN_CONFIG names {file}, which is not a file")
    _refuse_unknown_variables()
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{_key(e['loc'])}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        raise InvalidSettings("; ".join(lines)) from error
    except (SettingsError, ValueError) as error:
        raise InvalidSettings(f"settings could not be read: {error}") from error


def _refuse_unknown_variables() -> None:
    """A misspelt variable must not pass in silence as a default."""
    known = {
        f"MILKRUN_{group}_{key}".upper(): f"MILKRUN_{group}_".upper()
        for group, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    }
    for name in os.environ:
        if name.startswith("MILKRUN_") and name not in known and name not in _NO_SETTINGS:
            here = [k for k, group in known.items() if name.startswith(group)]
            allowed = ", ".join(sorted(here)) or "groups " + ", ".join(sorted({f"{g}..." for g in known.values()}))
            raise InvalidSettings(f"{name} is no setting; allowed here: {allowed}")


def _key(loc: tuple[int | str, ...]) -> str:
    return "MILKRUN_" + "_".join(str(part) for part in loc).upper()
