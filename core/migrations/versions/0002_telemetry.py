"""Positions and metrics: TimescaleDB where the server has it, native range partitions where it does not.

`ALTER DATABASE ... SET milkrun.timescale = 'off'`, before the first migration, chooses native partitions all the same.
"""

from alembic import op
from sqlalchemy import text

from core.migrations import run

revision = "0002"
down_revision = "0001"

# Installable is not enough: without the preloaded library CREATE EXTENSION fails. The library shows by a setting of its
# own, because shared_preload_libraries itself is for superusers' eyes, which an owner need not be.
_HAS_TIMESCALE = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
   AND current_setting('timescaledb.max_background_workers', true) IS NOT NULL
   AND current_setting('milkrun.timescale', true) IS DISTINCT FROM 'off'
"""


def upgrade() -> None:
    timescale = op.get_bind().execute(text(_HAS_TIMESCALE)).scalar_one()
    if timescale:
        op.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    run("0002_telemetry.sql", partition="" if timescale else "PARTITION BY RANGE (ts)")
    run("0002_telemetry_timescale.sql" if timescale else "0002_telemetry_native.sql")
    run("0002_telemetry_views.sql")
