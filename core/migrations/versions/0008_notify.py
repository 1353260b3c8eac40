"""Notices, their deliveries, and who wants what."""

from core.migrations import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run("0008_notify.sql")
