"""A process is stopped at a named step and wakes long after: leases, tickets and reservations have run out, others did
its work and more. Whatever it still means to write, nothing of its successors' is harmed.
"""

import contextlib
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from tests.factories import calls
from tests.factories.nursery import Process, until
from tests.faults.acts import ACTS, Act
from tests.faults.deeds import AFTER, CHANGED, NEIGHBOUR
from tests.faults.invariants import Expected, check, settle
from tests.faults.scene import Scene

BACKENDS = ["sqlite-directory", "postgresql-s3"]
LAST = "the newest wording"
LATER = "a later commit"
BY_NAME = {act.name: act for act in ACTS}
CALM = {"S4_JOB_POLL_SECONDS": "0.7"}  # not in step with the scheduler's second
"""A worker that asks the catalog rarely: SQLite has one write lock, and who is stopped holding it stops all."""
SCENES_MAX = 4  # tries to stop a process outside of a transaction; nineteen of twenty succeed at once

Succeed = Callable[[Scene], Expected]


class Unlucky(Exception):
    """Stopped in the middle of a transaction, which is not what is tried here."""


# -- what the successors do


def replace(scene: Scene) -> Expected:
    with scene.tenant() as tenant:
        calls.stored(calls.put(tenant, "k", LAST, CHANGED))
    return Expected({"k": LAST, "n": NEIGHBOUR}, frozenset({"k"}), gone=("ancient", "modern", "unanswered"))


def delete(scene: Scene) -> Expected:
    with scene.tenant() as tenant:
        assert tenant.delete("/documents/by-key/k").status_code in (204, 404)
    return Expected({"n": NEIGHBOUR}, gone=("ancient", "modern", "unanswered"))


def replace_deleted(scene: Scene) -> Expected:
    delete(scene)
    scene.work()
    return replace(scene)


# -- stopping and waking


def stopped(scene: Scene, process: Process) -> None:
    """Returns when it has stopped at its step, outside of any transaction."""
    until(lambda: process.is_stopped or process.has_ended, f"it never comes to the step:\n{process.tail()}")
    assert process.is_stopped, process.tail()
    url = sa.make_url(scene.environment["S4_DATABASE_URL"])
    if url.get_backend_name() != "sqlite":
        return
    assert url.database is not None
    with contextlib.closing(sqlite3.connect(url.database, timeout=0.5)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        except sqlite3.OperationalError as error:
            raise Unlucky from error


def worker_wakes_after(scene: Scene, act: Act, step: str, succeed: Succeed) -> None:
    act.prepare(scene)
    zombie = scene.worker(f"{step}=stop", **CALM)
    until(lambda: zombie.events("worker.started"), "the worker does not start")
    act.do(scene, scene.survivor.url)
    stopped(scene, zombie)
    settle(scene)
    expected = succeed(scene)
    settle(scene)
    before = revisions(scene)
    zombie.send(signal.SIGCONT)
    # It goes on with what it held, then takes the next job: so this one's end is also the end of that.
    with scene.tenant() as tenant:
        calls.wait(tenant, calls.stored(calls.put(tenant, "later", LATER))["document_id"])
        until(lambda: zombie.events("documents.indexed"), "not by the one that woke")  # it says so after the commit
        assert {key: revision for key, revision in revisions(scene).items() if key != "later"} == before
    zombie.kill()
    check(scene, Expected(expected.contents | {"later": LATER}, expected.changed, gone=expected.gone), step=step)


def revisions(scene: Scene) -> dict[str, int]:
    with scene.tenant() as tenant:
        return {document["key"]: document["version"] for document in calls.everything(tenant).values()}


def api_wakes_after(scene: Scene, act: Act, step: str, succeed: Succeed) -> httpx.Response:
    """Answers with what the client hears that waited all the time."""
    act.prepare(scene)
    zombie, url = scene.serve(f"{step}=stop")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(act.do, scene, url)
        stopped(scene, zombie)
        settle(scene)
        expected = succeed(scene)
        zombie.send(signal.SIGCONT)
        answer = waiting.result()
    assert answer is not None
    zombie.kill()
    check(scene, expected)
    return answer


@pytest.fixture
def lucky(new_scene: Callable[[], Scene]) -> Callable[[Callable[[Scene], object]], None]:
    """Plays on a fresh scene, and on another one when the process was stopped where it stops all."""

    def play(on: Callable[[Scene], object]) -> None:
        for _ in range(SCENES_MAX):
            scene = new_scene()
            with contextlib.suppress(Unlucky):
                on(scene)
                return
            scene.close()
        raise AssertionError("in a transaction whenever it was stopped")

    return play


Lucky = Callable[[Callable[[Scene], object]], None]

IN_WORKER = [
    pytest.param(act, step, succeed, id=f"{act.name}-{step}-{succeed.__name__}")
    for act, successors in (
        (BY_NAME["replace"], (replace, delete, replace_deleted)),
        (BY_NAME["delete"], (replace,)),
        (BY_NAME["reprocess"], (replace,)),
        (BY_NAME["compact"], (replace, delete)),
        (BY_NAME["collect"], (replace,)),
        (BY_NAME["resolve-sealed"], (replace,)),
    )
    for step in act.in_worker
    for succeed in successors
]
IN_API = [
    pytest.param(act, step, succeed, id=f"{act.name}-{step}-{succeed.__name__}")
    for act, successors in (
        (BY_NAME["replace"], (replace, delete)),
        (BY_NAME["patch"], (replace,)),
        (BY_NAME["delete"], (replace,)),
        (BY_NAME["reprocess"], (replace,)),
    )
    for step in act.in_api
    for succeed in successors
]
GIVEN_UP = {"upload.opened", "upload.received", "upload.streamed", "document.sealed"}
"""Steps at which the change is not true yet: whoever is found gone there is given up."""


def answers_truly(act: Act, step: str, answer: httpx.Response) -> None:
    if step in GIVEN_UP:
        assert answer.status_code == 503, answer.text
    else:
        assert answer.status_code in act.may_answer, answer.text


@pytest.mark.parametrize(
    ("name", "step", "succeed"), [("replace", "index.written", replace), ("delete", "index.described", replace)]
)
def test_a_worker_that_wakes_at_a_decisive_step_harms_nothing(
    lucky: Lucky, name: str, step: str, succeed: Succeed
) -> None:
    lucky(lambda scene: worker_wakes_after(scene, BY_NAME[name], step, succeed))


@pytest.mark.parametrize("name", ["patch", "replace"])  # an upload's room is gone as well, a patch needs none
def test_a_writer_that_wakes_after_it_was_fenced_is_refused(lucky: Lucky, name: str) -> None:
    def play(scene: Scene) -> None:
        answer = api_wakes_after(scene, BY_NAME[name], "document.sealed", replace)
        answers_truly(BY_NAME[name], "document.sealed", answer)
        assert "too long" in answer.json()["error"]["message"]

    lucky(play)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("act", "step", "succeed"), IN_WORKER)
def test_a_worker_that_wakes_at_any_step_harms_nothing(lucky: Lucky, act: Act, step: str, succeed: Succeed) -> None:
    lucky(lambda scene: worker_wakes_after(scene, act, step, succeed))


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("act", "step", "succeed"), IN_API)
def test_an_api_that_wakes_at_any_step_harms_nothing(lucky: Lucky, act: Act, step: str, succeed: Succeed) -> None:
    lucky(lambda scene: answers_truly(act, step, api_wakes_after(scene, act, step, succeed)))


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", BY_NAME["replace"].in_api)
def test_a_client_that_repeats_while_its_first_try_sleeps_has_one_effect(lucky: Lucky, step: str) -> None:
    def repeats(scene: Scene) -> Expected:
        scene.let_time_pass()  # the ticket's lease only: no sweep comes, so the reservation stands
        answer = BY_NAME["replace"].do(scene, scene.survivor.url)
        assert answer is not None
        assert answer.status_code == 200, answer.text
        return BY_NAME["replace"].expected

    def play(scene: Scene) -> None:
        act = BY_NAME["replace"]
        act.prepare(scene)
        zombie, url = scene.serve(f"{step}=stop")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(act.do, scene, url)
            stopped(scene, zombie)
            expected = repeats(scene)
            before = revisions(scene)
            zombie.send(signal.SIGCONT)
            answer = waiting.result()
        assert answer is not None
        assert answer.status_code in ({503} if step == "document.sealed" else act.may_answer), answer.text
        assert revisions(scene) == before
        zombie.kill()
        check(scene, expected)

    lucky(play)


def test_a_writer_whose_table_passed_on_publishes_nothing_before_it_has_it_again(lucky: Lucky) -> None:
    """Its job is still its own; only the lease on the table went to somebody else while it slept."""

    def play(scene: Scene) -> None:
        act = BY_NAME["replace"]
        act.prepare(scene)
        zombie = scene.worker("index.written=stop", **CALM)
        until(lambda: zombie.events("worker.started"), "the worker does not start")
        act.do(scene, scene.survivor.url)
        stopped(scene, zombie)
        scene.let_time_pass()
        BY_NAME["compact"].do(scene, scene.survivor.url)
        scene.work()
        zombie.send(signal.SIGCONT)
        until(lambda: zombie.events("job.retried") or zombie.events("documents.indexed"), zombie.tail())
        assert not zombie.events("documents.indexed"), "published under a lease that was somebody else's"
        assert "lease" in zombie.events("job.retried")[0]["details"]["error"]
        zombie.kill()
        check(scene, act.expected)

    lucky(play)


def test_content_whose_ticket_still_stands_is_not_collected(lucky: Lucky) -> None:
    """The room of an upload is overdue and released, the collector comes, and only then the uploader wakes."""

    def play(scene: Scene) -> None:
        act = BY_NAME["replace"]
        act.prepare(scene)
        zombie, url = scene.serve("document.sealed=stop")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(act.do, scene, url)
            stopped(scene, zombie)
            scene.let_time_pass()
            scene.do(scene.house.parts.maintenance.reconcile())
            BY_NAME["collect"].do(scene, scene.survivor.url)
            scene.work()
            zombie.send(signal.SIGCONT)
            answer = waiting.result()
        assert answer is not None
        assert answer.status_code == 200, "nobody was in its way"
        zombie.kill()
        check(scene, Expected({"k": AFTER, "n": NEIGHBOUR}, frozenset({"k"}), gone=("ancient",)))

    lucky(play)
