"""Roles, tenants, devices, certificates, presence, dead letters, outbox."""

from core.migrations import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run("0001_tenancy_and_registry.sql")
