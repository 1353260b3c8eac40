"""Device shadows."""

from core.migrations import run

revision = "0010"
down_revision = "0004"


def upgrade() -> None:
    run("0010_shadow.sql")
