"""Brings a database to this release's schema. The steps are in `s4/migrations`, numbered, `pre` or `post` by name."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import s4.migrations
from s4.kernel.errors import Conflict, Unavailable
from s4.platform.faults import failpoint

_CONNECT_SECONDS_MAX = 10  # a start must not hang at an address that swallows packets
_ADVISORY_LOCK = 5_300_734  # "S4" and a random number: two migrating processes take turns


POSTGRESQL_OLDEST = 15
"""The oldest major version that its own makers still mend, and the oldest that S4's tests have run on."""


def upgrade(url: str) -> list[str]:
    """Runs what is missing, alone. Answers with the revisions that were run. Raises as `pending` does."""
    with _connected(url) as connection:
        _require_supported(connection)
        if connection.dialect.name == "postgresql":
            # Until the transaction ends, in which all steps run: a pooler gives each one another session.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
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
    script = ScriptDirectory.from_config(config)
    if after == before:
        return []
    return [revision.revision for revision in script.iterate_revisions(after, before)][::-1]


def pending(url: str) -> bool:
    """Whether the database lacks a step of this release. Raises `Unavailable`, and `Conflict` for a server that is
    too old."""
    with _connected(url) as connection:
        return lacks_steps(connection)


def lacks_steps(connection: sa.Connection) -> bool:
    """`pending`, on a connection that is open."""
    _require_supported(connection)
    return _current(connection) != ScriptDirectory.from_config(_config()).get_current_head()


def server_name(connection: sa.Connection) -> str:
    """`PostgreSQL 18.6`, `SQLite 3.40.1`."""
    name = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[connection.dialect.name]
    return f"{name} {'.'.join(map(str, connection.dialect.server_version_info or ('of unknown version',)))}"


def _require_supported(connection: sa.Connection) -> None:
    version = connection.dialect.server_version_info
    if connection.dialect.name == "postgresql" and version is not None and int(version[0]) < POSTGRESQL_OLDEST:
        raise Conflict(
            f"The database is {server_name(connection)}; S4 needs PostgreSQL {POSTGRESQL_OLDEST} or newer. "
            "Upgrade the server, or name another one in S4_DATABASE_URL."
        )


@contextlib.contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = _engine(url)
    try:
        try:
            connection = engine.connect()
        except sa.exc.OperationalError as error:
            reason = str(error.orig).partition("\n")[0]
            raise Unavailable(f"The catalog database does not answer: {reason}.") from error
        with connection:
            yield connection
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
    return sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_SECONDS_MAX, "prepare_threshold": None},
        poolclass=sa.pool.NullPool,
    )
