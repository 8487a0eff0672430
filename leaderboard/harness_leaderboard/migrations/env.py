"""What Alembic runs to migrate: on the connection that the store hands over, inside its transaction.

A step that fails half-way therefore leaves the database as it was. There is no alembic.ini.
"""

from alembic import context

from harness_leaderboard.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter most things in place: Alembic then copies the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
