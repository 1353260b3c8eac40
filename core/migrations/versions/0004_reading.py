"""Reading through the API: what rollups lack, last values of metrics, a tenant's events by time and its version."""

from core.migrations import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("0004_reading.sql")
