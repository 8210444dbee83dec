"""Brings a database to this release's schema. The steps are in `s4/migrations`, numbered, `pre` or `post` by name.

Two releases work on one catalog while one replaces the other, so a process looks at more than whether the schema is its
own. It serves while nothing but trailing `post` steps is missing, and on a newer schema as long as no `post` step that
it does not know has been run. The second is read from the step's revision, since an old release has no file of it:
`NNNN`, and behind a dot the number of the last `post` step up to there, if there was one (`0012.0011`).
"""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import s4.migrations
from s4.kernel.errors import Conflict, Unavailable
from s4.platform.database.engine import is_damage
from s4.platform.faults import failpoint

_CONNECT_SECONDS_MAX = 10  # a start must not hang at an address that swallows packets
_ADVISORY_LOCK = 5_300_734  # "S4" and a random number: two migrating processes take turns


POSTGRESQL_OLDEST = 15
"""The oldest major version that its own makers still mend, and the oldest that S4's tests have run on."""


@dataclass(frozen=True, slots=True)
class Step:
    """`is_post`: no process of an older release may be left when it is run."""

    revision: str
    is_post: bool


def upgrade(url: str, *, pre_only: bool = False) -> list[str]:
    """Runs what is missing, alone; with `pre_only` as far as an older release can live with it. Answers with the
    revisions that were run. Raises as `pending` does."""
    with _connected(url) as connection:
        _require_supported(connection)
        if connection.dialect.name == "postgresql":
            # Until the transaction ends, in which all steps run: a pooler gives each one another session.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        else:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("PRAGMA busy_timeout=30000")
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        wanted = _missing(connection)
        if pre_only and len(wanted) < len(steps()):  # no older release has lived with a catalog that is new
            wanted = _before_the_first_post(wanted)
        if wanted:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, wanted[-1].revision)
        failpoint("migrate.ran")
        connection.commit()
        failpoint("migrate.committed")
    return [step.revision for step in wanted]


def missing(url: str) -> list[Step]:
    """This release's steps that were not run yet, in order. Raises as `pending` does."""
    with _connected(url) as connection:
        _require_supported(connection)
        return _missing(connection)


def pending(url: str) -> bool:
    """Whether the database lacks a step that this release cannot serve without. Raises `Unavailable`, and `Conflict`
    for a server that is too old, or a schema that is too new."""
    with _connected(url) as connection:
        return lacks_steps(connection)


def lacks_steps(connection: sa.Connection) -> bool:
    """`pending`, on a connection that is open."""
    return any(not step.is_post for step in missing_steps(connection))


def missing_steps(connection: sa.Connection) -> list[Step]:
    """`missing`, on a connection that is open."""
    _require_supported(connection)
    return _missing(connection)


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
    except sa.exc.DatabaseError as error:
        if not is_damage(error):
            raise
        raise Unavailable(
            "The catalog database is damaged: stop S4, move its file and the -wal beside it away, and run `s4 rebuild`."
        ) from error
    finally:
        engine.dispose()


def steps() -> list[Step]:
    """This release's, oldest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [Step(each.revision, Path(each.path).stem.split("_")[1] == "post") for each in scripts][::-1]


def _missing(connection: sa.Connection) -> list[Step]:
    """Raises `Conflict` when a newer release has run a step that this one cannot live with."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = steps()
    if current is None:
        return known
    revisions = [step.revision for step in known]
    if current in revisions:
        return known[revisions.index(current) + 1 :]
    number, _, last_post = current.partition(".")
    if last_post > revisions[-1].partition(".")[0]:  # four digits each
        raise Conflict(
            f"The catalog's schema is of a newer release (step {number}), which has run a step that this release "
            "cannot live with: start the newer release instead."
        )
    return []


def _before_the_first_post(steps: list[Step]) -> list[Step]:
    return list(itertools.takewhile(lambda step: not step.is_post, steps))


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
