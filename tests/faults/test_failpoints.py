"""A process ends at a named step, as in a power cut; others go on; the client repeats what was not answered.

Whatever the step, the change takes effect exactly once, and everything that must hold (see `invariants`) holds: by the
document, by the listing, by usage, by search, in the table, in the bucket and in the queue.
"""

import itertools
from collections.abc import Callable, Iterator

import httpx
import pytest

from s4.platform import faults
from tests.faults.acts import ACTS, BY_COMMANDS, COMMANDED, ONCE, REBUILD, REBUILDING, STARTING, UNTOUCHED, Act
from tests.faults.deeds import with_documents
from tests.faults.invariants import Expected, check
from tests.faults.scene import EXIT_CODE, Scene

BACKENDS = ("sqlite-directory", "sqlite-s3", "postgresql-directory", "postgresql-s3")
MATRIX = [pytest.param(act, step, id=f"{act.name}-{step}") for act in ACTS for step in act.steps]
ONE_OF_EACH = [pytest.param(act, id=act.name) for act in ACTS]
TWICE = [
    (first, second)
    for first, second in itertools.product(("deployment.drawn", "deployment.written", *REBUILDING), REBUILDING)
    if second not in ONCE or first not in REBUILDING[REBUILDING.index(second) :]
] + [*itertools.product(REBUILDING, ("index.claimed", "index.written", "index.published"))]
"""Whoever crashed at the first step comes to the second when it starts anew."""
BY_NAME = {act.name: act for act in ACTS}


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm({})


def end_at(scene: Scene, act: Act, step: str) -> None:
    """Acts, and the process that comes to `step` ends there."""
    if step in act.in_api:
        process, url = scene.serve(f"{step}=exit")
        with pytest.raises(httpx.TransportError):
            act.do(scene, url)
    else:
        act.do(scene, scene.survivor.url if act is not REBUILD else "")
        process = scene.worker(f"{step}=exit")
    assert process.wait() == EXIT_CODE, process.tail()


def fail_at(scene: Scene, act: Act, step: str) -> None:
    """Acts, and `step` raises once, in a process that lives on and cleans up behind itself."""
    passed = []

    def fail() -> None:
        faults.arm({})
        passed.append(step)
        raise faults.InjectedFault

    faults.arm({step: fail})
    try:
        act.do(scene, scene.survivor.url)
        scene.work()
    except faults.InjectedFault:
        assert act is REBUILD, "only there the survivor opens meanwhile"
    assert passed == [step]


def repeat(scene: Scene, act: Act, step: str, *, took_effect: bool) -> None:
    if not act.may_answer:
        return
    scene.let_time_pass()  # a ticket of the dead is respected until then
    answer = act.do(scene, scene.survivor.url)
    assert answer is not None
    assert answer.status_code in act.may_answer, answer.text
    if act.has_idempotency_key:
        assert (answer.headers.get("Idempotency-Replayed") == "true") == took_effect, f"after {step}"


def crash_and_repeat(scene: Scene, act: Act, step: str) -> None:
    act.prepare(scene)
    end_at(scene, act, step)
    took_effect = step in act.in_worker or step in ("document.committed", "document.settled")
    # Whoever catches up comes to `committed` first with a head whose place is taken.
    repeat(scene, act, step, took_effect=took_effect and (act.name, step) != ("catch-up", "document.committed"))
    check(scene, act.expected, step=step)


# -- the list itself


@pytest.mark.long
@pytest.mark.parametrize("act", ONE_OF_EACH)
def test_the_acts_pass_exactly_the_points_that_they_say(scene: Scene, act: Act) -> None:
    act.prepare(scene)
    passed: list[str] = []

    def passing(name: str) -> Callable[[], None]:
        return lambda: passed.append(name)

    faults.arm({name: passing(name) for name in faults.FAILPOINTS})
    act.do(scene, scene.survivor.url)
    scene.work()
    faults.arm({})
    # Whoever opens the scene's survivor migrates; only the acts of starting are about that.
    assert set(passed) - {"migrate.ran", "migrate.committed"} - act.may_pass == set(act.steps)
    check(scene, act.expected)


def test_the_matrix_takes_every_fail_point() -> None:
    by_acts = {step for act in ACTS for step in act.steps}
    elsewhere = {*STARTING, *COMMANDED, *BY_COMMANDS}
    assert by_acts | elsewhere == set(faults.FAILPOINTS)


# -- crashes


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("upload", "document.sealed"),
        ("replace", "document.committed"),
        ("replace", "index.written"),
        ("delete", "index.written"),
        ("rebuild", "document.adopted"),
    ],
)
def test_a_crash_at_a_decisive_step_and_a_repeat_take_effect_once(scene: Scene, name: str, step: str) -> None:
    crash_and_repeat(scene, BY_NAME[name], step)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("act", "step"), MATRIX)
def test_a_crash_at_any_step_and_a_repeat_take_effect_once(scene: Scene, act: Act, step: str) -> None:
    crash_and_repeat(scene, act, step)


def err_and_repeat(scene: Scene, act: Act, step: str) -> None:
    act.prepare(scene)
    fail_at(scene, act, step)
    if act.may_answer:
        scene.let_time_pass()
        answer = act.do(scene, scene.survivor.url)
        assert answer is not None
        assert answer.status_code in act.may_answer, answer.text
    check(scene, act.expected, step=step)


def test_an_error_after_the_commit_takes_nothing_away(scene: Scene) -> None:
    err_and_repeat(scene, BY_NAME["replace"], "document.committed")


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite-directory"])  # what cleans up is the same on all
@pytest.mark.parametrize(("act", "step"), MATRIX)
def test_an_error_at_any_step_and_a_repeat_take_effect_once(scene: Scene, act: Act, step: str) -> None:
    """What cleans up after an error must not harm what had become true before."""
    err_and_repeat(scene, act, step)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", STARTING)
def test_a_crash_in_the_first_start_leaves_what_the_second_can_go_on_with(scene: Scene, step: str) -> None:
    process = scene.victim("serve", "--no-worker", "--port", "0", failpoints=f"{step}=exit")
    assert process.wait() == EXIT_CODE, process.tail()
    with_documents(scene)
    check(scene, Expected(UNTOUCHED))


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite-directory", "postgresql-s3"])
@pytest.mark.parametrize(("first", "second"), TWICE)
def test_a_rebuild_that_crashes_twice_is_done_by_the_third(scene: Scene, first: str, second: str) -> None:
    REBUILD.prepare(scene)
    for step in (first, second):
        process = scene.worker(f"{step}=exit")
        assert process.wait() == EXIT_CODE, process.tail()
        scene.let_time_pass()
    check(scene, REBUILD.expected)
