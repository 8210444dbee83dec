"""Alembic's environment: the connection comes from `migrate`, the tables from whoever imported the models."""

from alembic import context

from s4.platform.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=False,
)
with context.begin_transaction():
    context.run_migrations()
