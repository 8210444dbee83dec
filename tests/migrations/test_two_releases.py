"""Two releases on one catalog, while one replaces the other: who may serve, and which steps may be run.

Later releases are this one with made-up steps behind its own.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

import s4.migrations
from s4.entrypoints.cli import app
from s4.kernel.errors import Conflict
from s4.platform.database import migrate

STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("made_up_{number}", sa.Column("id", sa.Integer(), primary_key=True))
"""

OWN = Path(s4.migrations.__file__).parent
Release = Callable[..., None]


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """From here on this process is a release with so many further steps, `pre` or `post`."""

    def become(*kinds: str) -> None:
        folder = tmp_path / "-".join(["steps", *kinds])
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(OWN, folder, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(s4.migrations, "__file__", str(folder / "__init__.py"))
        before = migrate.steps()[-1].revision
        last_post = before.partition(".")[2]
        for kind in kinds:
            number = f"{int(before.partition('.')[0]) + 1:04d}"
            last_post = number if kind == "post" else last_post
            revision = f"{number}.{last_post}".rstrip(".")
            step = STEP.format(revision=revision, before=before, number=number)
            (folder / f"{number}_{kind}_made_up.py").write_text(step, encoding="utf-8")
            before = revision

    return become


def made_up(url: str) -> int:
    """How many of the made-up steps were run."""
    driver = "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver), poolclass=sa.pool.NullPool)
    return sum(name.startswith("made_up_") for name in sa.inspect(engine).get_table_names())


def test_the_old_release_serves_on_until_a_post_step_is_run(catalog_url: str, release: Release) -> None:
    migrate.upgrade(catalog_url)
    release("pre", "pre", "post")
    assert len(migrate.upgrade(catalog_url, pre_only=True)) == 2
    assert not migrate.pending(catalog_url), "the new one serves as well"

    release()
    assert not migrate.pending(catalog_url)
    assert migrate.upgrade(catalog_url) == [], "and has nothing to do"

    release("pre", "pre", "post")
    assert len(migrate.upgrade(catalog_url)) == 1
    assert made_up(catalog_url) == 3
    assert not migrate.pending(catalog_url)

    release()
    for ask in (migrate.pending, migrate.upgrade):
        with pytest.raises(Conflict, match="newer release"):
            ask(catalog_url)


def test_a_release_lives_with_post_steps_that_it_knows_behind_which_came_new_pre_steps(
    catalog_url: str, release: Release
) -> None:
    release("post", "pre")
    migrate.upgrade(catalog_url)
    release("post")
    assert not migrate.pending(catalog_url)
    release()
    with pytest.raises(Conflict):
        migrate.pending(catalog_url)


def test_a_release_does_not_serve_without_a_pre_step_of_its_own(catalog_url: str, release: Release) -> None:
    migrate.upgrade(catalog_url)
    release("post", "pre")
    assert migrate.pending(catalog_url)
    assert migrate.upgrade(catalog_url, pre_only=True) == [], "the post step before it waits for the older release"
    assert migrate.pending(catalog_url)
    migrate.upgrade(catalog_url)
    assert not migrate.pending(catalog_url)


def test_the_command_says_which_steps_it_left(tmp_path: Path, release: Release) -> None:
    command = ["migrate", "--data-dir", str(tmp_path / "data")]
    CliRunner().invoke(app.build(), command)
    release("pre", "post")

    first, second, third = (CliRunner().invoke(app.build(), command + more) for more in (["--pre"], ["--pre"], []))

    assert first.output.splitlines()[-1].startswith(
        "left for `s4 migrate`, once no process of the older release runs: "
    )
    assert second.output.startswith("nothing to do\nleft for ")
    assert third.output.startswith("migrated: ")
    assert "left" not in third.output


def test_a_new_catalog_gets_every_step_since_no_older_release_has_it(catalog_url: str, release: Release) -> None:
    release("post", "pre")
    assert len(migrate.upgrade(catalog_url, pre_only=True)) == len(migrate.steps())
    assert not migrate.pending(catalog_url)


def test_every_steps_revision_says_what_an_older_release_must_know() -> None:
    """`NNNN`, and behind a dot the number of the last `post` step up to there."""
    last_post = ""
    for number, step in enumerate(migrate.steps(), start=1):
        last_post = f"{number:04d}" if step.is_post else last_post
        assert step.revision == f"{number:04d}.{last_post}".rstrip(".")
