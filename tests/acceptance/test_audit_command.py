"""`s4 audit verify` as a security officer runs it, against a database that somebody has changed."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from s4.entrypoints.configuration import DATABASE_FILE
from tests.acceptance.conftest import Command, Done
from tests.factories.deployment import ADMIN_KEY, Deployment

pytestmark = pytest.mark.processes

Audit = Callable[..., Done]


@pytest.fixture
def audit(served: Deployment, here: Command) -> Audit:
    def call(*arguments: str) -> Done:
        return here("audit", *arguments, S4_URL=served.url, S4_ADMIN_API_KEY=ADMIN_KEY)

    return call


@pytest.fixture
def database(served: Deployment) -> Iterator[sqlite3.Connection]:
    """The catalog, as whoever can write to it sees it."""
    with closing(sqlite3.connect(served.data_dir / DATABASE_FILE, timeout=60, isolation_level=None)) as connection:
        yield connection


def sealed(audit: Audit, database: sqlite3.Connection) -> tuple[str, int, int]:
    """Id, batch and position of an entry that is sealed."""
    assert audit("list").code == 0
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        row = database.execute("SELECT entry_id, batch, position FROM audit_entries WHERE position = 1").fetchone()
        if row is not None:
            return row[0], row[1], row[2]
        time.sleep(0.2)
    raise AssertionError("nothing was sealed")


def test_a_changed_row_is_named_and_the_exit_code_says_so(audit: Audit, database: sqlite3.Connection) -> None:
    entry_id, batch, position = sealed(audit, database)
    (actor,) = database.execute("SELECT actor FROM audit_entries WHERE entry_id = ?", (entry_id,)).fetchone()
    assert audit("verify").code == 0

    database.execute("UPDATE audit_entries SET actor = 'eve' WHERE entry_id = ?", (entry_id,))
    try:
        done = audit("verify")
    finally:
        database.execute("UPDATE audit_entries SET actor = ? WHERE entry_id = ?", (actor, entry_id))

    assert done.code == 1
    assert done.err == (
        f"The trail does not hold: changed in the catalog: batch {batch}, entry {position} ({entry_id}).\n"
    )
    assert audit("verify").code == 0


def test_an_anchor_that_was_kept_elsewhere_must_still_stand_in_the_chain(
    audit: Audit, database: sqlite3.Connection
) -> None:
    sealed(audit, database)
    printed = audit("verify").out
    found = re.search(r"--anchor (\d+):([0-9a-f]{64})$", printed, re.MULTILINE)
    assert found is not None, printed
    batch, digest = found.groups()

    assert audit("verify", "--anchor", f"{batch}:{digest}").code == 0
    for forged in (f"{batch}:{'0' * 64}", f"{int(batch) + 1000}:{digest}"):
        done = audit("verify", "--anchor", forged)
        assert (done.code, "does not end as the anchor says" in done.err) == (1, True)
    assert audit("verify", "--anchor", digest).code == 2
