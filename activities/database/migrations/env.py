"""Alembic runs this inside the transaction that `activities.database.upgrade.migrate` opened.

No migration has a `downgrade`: the ledger is append-only, so its schema is never downgraded.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
