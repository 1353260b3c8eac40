"""Search over the fleet: indexes on shadows, labels and last state."""

from core.migrations import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run("0009_search.sql")
