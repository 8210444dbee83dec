"""The catalog's schema: the steps lead from nothing to what the models say, on both databases, and take turns."""

import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import s4
from s4.kernel.errors import Conflict
from s4.platform.database import metadata, migrate


def engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return sa.create_engine(parsed.set(drivername=driver), poolclass=sa.pool.NullPool)


def all_models() -> sa.MetaData:
    """With every module's tables registered."""
    for module in pkgutil.walk_packages(s4.__path__, "s4."):
        if module.name.endswith(".models"):
            importlib.import_module(module.name)
    return metadata


def differences(url: str) -> list[object]:
    """Between a database and the models."""
    with engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return [change for change in compare_metadata(context, all_models()) if not _is_comment(change)]


def _is_comment(change: Any) -> bool:
    """Comments of columns are for who reads the models; the steps leave them out."""
    return isinstance(change, list) and all(part[0] == "modify_comment" for part in change)


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("S4_")}
    return subprocess.Popen(
        [sys.executable, "-m", "s4.entrypoints.cli", *arguments],
        env=clean | {"S4_DATA_DIR": str(folder)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_steps_lead_from_nothing_to_what_the_models_say(catalog_url: str) -> None:
    assert differences_before(catalog_url)
    steps = migrate.upgrade(catalog_url)
    assert steps[0] == "0001"
    assert steps == sorted(steps)
    assert differences(catalog_url) == []


def differences_before(url: str) -> bool:
    """Whether the database lacks something, which proves that the comparison sees it."""
    return migrate.pending(url) and bool(differences(url))


def test_columns_agree_in_nullability_and_keys(catalog_url: str) -> None:
    """What `compare_metadata` does not look at: primary keys and, on SQLite, collations stand in the steps too."""
    migrate.upgrade(catalog_url)
    inspector = sa.inspect(engine(catalog_url))
    models = all_models()
    assert set(inspector.get_table_names()) - {"alembic_version"} == set(models.tables)
    for name, table in models.tables.items():
        in_database = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert in_database == {column.name: column.nullable for column in table.columns}, name
        keys = inspector.get_pk_constraint(name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key.columns], name


def test_running_twice_does_nothing(catalog_url: str) -> None:
    assert migrate.upgrade(catalog_url)
    assert not migrate.pending(catalog_url)
    assert migrate.upgrade(catalog_url) == []
    assert differences(catalog_url) == []


@pytest.mark.processes
def test_processes_that_migrate_at_once_take_turns(catalog_url: str, tmp_path: Path) -> None:
    running = [command(tmp_path, "migrate", S4_DATABASE_URL=catalog_url) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], answers
    said = sorted(stdout.partition(":")[0].strip() for stdout, _ in answers)
    assert said == ["migrated", "nothing to do"]
    assert differences(catalog_url) == []


@pytest.mark.parametrize("ask", [migrate.upgrade, migrate.pending])
def test_a_server_older_than_the_oldest_supported_is_refused_before_anything_is_done(
    postgres_url: str, ask: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "POSTGRESQL_OLDEST", 99)
    with pytest.raises(Conflict, match=r"The database is PostgreSQL 1\d\.\d+; S4 needs PostgreSQL 99 or newer"):
        ask(postgres_url)
    assert sa.inspect(engine(postgres_url)).get_table_names() == []


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["worker"], ["serve", "--port", "0"]])
def test_on_an_unmigrated_catalog_a_process_refuses_and_says_what_to_do(
    postgres_url: str, tmp_path: Path, arguments: list[str]
) -> None:
    key = "0123456789abcdef-0123456789abcdef"
    production = {"S4_ENVIRONMENT": "production", "S4_ADMIN_API_KEY": key, "S4_SECRET_KEY": key}
    process = command(
        tmp_path, *arguments, S4_DATABASE_URL=postgres_url, S4_EMBEDDING_PROVIDER="deterministic", **production
    )
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert "s4 migrate" in stderr
    assert "Traceback" not in stderr
    assert sa.inspect(engine(postgres_url)).get_table_names() == []
