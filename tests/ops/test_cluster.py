"""Nothing fails while what serves is replaced: replicas and workers one by one, a schema in two steps, a whole set and
back, under a steady load through a real balancer. Needs Debian's `haproxy`.

One cluster for all: each test leaves it with a set of three replicas and two workers.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import s4
from tests.factories.cluster import Cluster, kill, running_cluster
from tests.factories.pages import executed_blocks, page, run_blocks
from tests.factories.steady_load import SteadyLoad, steady_load

pytestmark = [pytest.mark.ops, pytest.mark.timeout(900)]  # a set starts in seconds, and in a minute on a busy machine

STEP = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None


def upgrade() -> None:
    {work}
"""
NEXT_PROGRAM = """#!/bin/sh
PYTHONPATH={source} exec {python} -m s4.entrypoints.cli "$@"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def key(cluster: Cluster) -> str:
    return cluster.new_tenant("Acme")


def summary(load: SteadyLoad) -> str:
    slowest = max(each.seconds for each in load.answered)
    return f"{len(load.answered)} requests, {len(load.failed)} failed, the slowest took {slowest:.1f} s"


def has_failed(load: SteadyLoad) -> list[str]:
    return [f"{each.kind}: {each.wrong}" for each in load.failed]


def test_every_process_is_replaced_one_by_one_and_no_request_fails(cluster: Cluster, key: str) -> None:
    before = cluster.pids()
    with steady_load(cluster.url, key) as load:
        load.await_answers("upload_slowly")
        cluster.tell("roll")
        cluster.tell("add")
        cluster.tell("remove", "blue-2")
        load.await_answers("upload_slowly")
    print(summary(load))
    after = cluster.pids()
    cluster.tell("add")
    cluster.tell("remove", "blue-4")
    assert after.keys() == (before.keys() | {"blue-4"}) - {"blue-2"}
    assert not set(after.values()) & set(before.values()), "not replaced"
    assert has_failed(load) == []
    load.check()


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The program of a release with two further steps of the schema: a column that only it fills, and one that forbids
    what the older release does."""
    shutil.copytree(Path(s4.__file__).parent, tmp_path / "s4", ignore=shutil.ignore_patterns("__pycache__"))
    steps = tmp_path / "s4" / "migrations"
    last = max(path.name for path in steps.glob("0*.py"))[:4]
    pre, post = f"{int(last) + 1:04d}", f"{int(last) + 2:04d}"
    add = 'op.add_column("documents", sa.Column("made_up", sa.Integer()))'
    (steps / f"{pre}_pre_made_up.py").write_text(STEP.format(revision=pre, before=last, work=add))
    fill = 'op.execute(sa.text("UPDATE documents SET made_up = 1"))'
    (steps / f"{post}_post_made_up.py").write_text(STEP.format(revision=f"{post}.{post}", before=pre, work=fill))
    program = tmp_path / "s4-next"
    program.write_text(NEXT_PROGRAM.format(source=tmp_path, python=sys.executable))
    program.chmod(0o755)
    return program


def test_a_release_with_a_schema_in_two_steps_comes_as_a_second_set_and_no_request_fails(
    cluster: Cluster, key: str, next_release: Path
) -> None:
    with steady_load(cluster.url, key) as load:
        load.await_answers("upload_slowly")
        assert "left for" in cluster.tell("migrate", "--pre", "--program", str(next_release))
        cluster.tell("replace", "blue-1")  # the old release starts on the new schema
        cluster.tell("replace", "blue-worker-1")
        cluster.tell("start", "green", "--program", str(next_release))
        cluster.tell("switch")
        load.await_answers("upload_slowly", more=3)
        cluster.tell("switch")  # and back: something of the new one did not please
        load.await_answers("upload_slowly", more=3)
        cluster.tell("switch", "green")
        cluster.tell("stop", "blue")
        assert "migrated" in cluster.tell("migrate", "--program", str(next_release))
        load.await_answers("upload_slowly", more=3)
        refused = cluster.attempt("start", "blue")
        cluster.tell("start", "blue", "--program", str(next_release))
        cluster.tell("switch", "blue")
        cluster.tell("stop", "green")
        load.await_answers("upload_slowly", more=3)
    print(summary(load))
    assert refused.returncode == 1
    assert "newer release" in refused.stderr
    assert has_failed(load) == []
    load.check()


def test_a_set_with_an_index_of_its_own_is_filled_beside_takes_over_and_gives_back_and_no_request_fails(
    cluster: Cluster, key: str
) -> None:
    smaller_chunks = ("--set", "S4_CHUNK_TOKENS_MAX=64", "--set", "S4_CHUNK_OVERLAP_TOKENS=8")
    with steady_load(cluster.url, key) as load:
        load.await_answers("upload_slowly")
        cluster.tell("start", "green", *smaller_chunks)
        assert "complete" in cluster.tell("switch", "green", "--wait", "600")
        load.await_answers("upload_slowly", more=3)
        cluster.tell("switch", "blue")
        load.await_answers("upload_slowly", more=3)
    print(summary(load))
    assert has_failed(load) == []
    load.check()
    cluster.tell("switch", "green")
    load.check()
    cluster.tell("switch", "blue")
    cluster.tell("stop", "green")


def test_a_set_whose_index_lacks_documents_does_not_take_over(cluster: Cluster, key: str) -> None:
    """Its embedding provider does not answer. Tenants of the other set do not notice."""
    nobody = {"PROVIDER": "openai", "BASE_URL": "http://127.0.0.1:9/v1", "DIMENSION": "8"}
    with steady_load(cluster.url, key) as load:
        load.await_answers("upload_slowly")
        cluster.tell(
            "start", "green", *(part for n, v in nobody.items() for part in ("--set", f"S4_EMBEDDING_{n}={v}"))
        )
        load.await_answers("upload_slowly", more=3)
        refused = cluster.attempt("switch", "green", "--wait", "0")
        cluster.tell("switch", "green", "--anyway")
        cluster.tell("switch", "blue")
    assert refused.returncode == 1
    assert "green lacks documents that blue finds" in refused.stderr
    load.check()  # nobody waited for green
    cluster.tell("stop", "green")


def test_a_replica_that_is_killed_costs_nothing_that_may_be_repeated(cluster: Cluster, key: str) -> None:
    """What cannot be sent again by the balancer is repeated by its caller, under the same Idempotency-Key."""
    with steady_load(cluster.url, key) as load:
        load.await_answers("upload_slowly")
        for name in ("blue-1", "blue-2", "blue-3"):
            killed = cluster.pids()[name]
            kill(killed)
            load.await_answers("search")
            give_up_at = time.monotonic() + 120
            while cluster.pids()[name] == killed:  # started anew by who looks after it
                assert time.monotonic() < give_up_at
            load.await_answers("upload_slowly", more=2)
    print(summary(load), Counter(each.kind for each in load.failed))
    cut_off = {"upload_slowly", "download_slowly"}
    # Died between its seal and its end: whoever repeats it waits for that, and is told to come again.
    sealed = [each for each in load.failed if each.kind == "upload" and '"service_unavailable"' in each.wrong]
    assert [each for each in load.failed if each.kind not in cut_off and each not in sealed] == []
    load.repeat()
    load.check()


def test_the_commands_refuse_what_would_cut_the_tenants_off(cluster: Cluster) -> None:
    for arguments, why in {
        ("stop", "blue"): "blue is live",
        ("switch", "green"): "No replica of green is up",
        ("start", "blue"): "runs already",
        ("remove", "blue-9"): "is not there",
        ("replace", "nobody"): "no replica and no worker",
    }.items():
        done = cluster.attempt(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
    again = cluster.attempt("up")
    assert again.returncode == 1
    assert "a cluster runs in it" in again.stderr


def test_the_guide_does_what_it_says(cluster: Cluster) -> None:
    blocks = executed_blocks(page("docs/guide/cluster.md"), "bash")
    printed = "".join(run_blocks([block], cluster.folder, cluster.url)[0] for block in blocks)

    for said in ("blue (live)", "blue-1 is replaced", "green is live", "blue is live", "nothing to do"):
        assert said in printed
