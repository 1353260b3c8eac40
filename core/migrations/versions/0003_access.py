"""Who may call: users, API clients, API keys, sessions; the audit log, live tickets and remembered requests."""

from core.migrations import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run("0003_access.sql")
