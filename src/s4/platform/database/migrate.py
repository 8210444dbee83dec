"""Brings a database to this release's schema. The steps are in `s4/migrations`, numbered, `pre` or `post` by name."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import s4.migrations
from s4.platform.faults import failpoint

_ADVISORY_LOCK = 5_300_734  # "S4" and a random number: two migrating processes take turns


def upgrade(url: str) -> list[str]:
    """Runs what is missing, alone. Answers with the revisions that were run."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
            else:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                connection.exec_driver_sql("PRAGMA busy_timeout=30000")
                connection.exec_driver_sql("BEGIN EXCLUSIVE")
            before = _current(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            failpoint("migrate.ran")
            connection.commit()
            failpoint("migrate.committed")
            after = _current(connection)
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
                connection.commit()
        script = ScriptDirectory.from_config(config)
        if after == before:
            return []
        return [revision.revision for revision in script.iterate_revisions(after, before)][::-1]
    finally:
        engine.dispose()


def pending(url: str) -> bool:
    """Whether the database lacks a step of this release."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            return _current(connection) != ScriptDirectory.from_config(_config()).get_current_head()
    finally:
        engine.dispose()


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("alembic_environment")))
    config.set_main_option("version_locations", str(Path(s4.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        return sa.create_engine(
            parsed.set(drivername="sqlite"),
            connect_args={"isolation_level": None},
            poolclass=sa.pool.NullPool,
        )
    return sa.create_engine(parsed.set(drivername="postgresql+psycopg"), poolclass=sa.pool.NullPool)
