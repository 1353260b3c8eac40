"""Positions and metrics: TimescaleDB where the server has it, native range partitions where it does not."""

from alembic import op
from sqlalchemy import text

from core.migrations import run

revision = "0002"
down_revision = "0001"

# Installable is not enough: without the preloaded library CREATE EXTENSION fails.
_HAS_TIMESCALE = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
   AND current_setting('shared_preload_libraries') LIKE '%timescaledb%'
"""


def upgrade() -> None:
    timescale = op.get_bind().execute(text(_HAS_TIMESCALE)).scalar_one()
    if timescale:
        op.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    run("0002_telemetry.sql", partition="" if timescale else "PARTITION BY RANGE (ts)")
    run("0002_telemetry_timescale.sql" if timescale else "0002_telemetry_native.sql")
    run("0002_telemetry_views.sql")
