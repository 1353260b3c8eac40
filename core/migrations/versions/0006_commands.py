"""Commands and their templates, and the timeline of presence."""

from core.migrations import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("0006_commands.sql")
