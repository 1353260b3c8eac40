"""Alembic's entry: one transaction per revision, under a lock that a second runner waits for."""

from alembic import context
from sqlalchemy import Connection, text

connection: Connection = context.config.attributes["connection"]
# Two deploys at once: the second waits here, then finds nothing left to do.
connection.execute(text("SELECT pg_advisory_lock(hashtext('milkrun.migrate'))"))
connection.commit()
try:
    # A migration that cannot get its table lock gives up instead of queueing every other query behind it.
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
finally:
    connection.rollback()
    connection.execute(text("SELECT pg_advisory_unlock(hashtext('milkrun.migrate'))"))
    connection.commit()
