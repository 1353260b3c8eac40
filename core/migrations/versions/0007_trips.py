"""Sites, routes, trips, what was learned of them, and what maps cost."""

from core.migrations import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("0007_trips.sql")
