"""kill -9 at moments that nobody chose: in the middle of a large body, in the middle of indexing.

The seeds are in the tests' names. `FAULT_SEEDS=1,2,3 make faults` plays those again; `FAULT_SEEDS=50x` draws so many.
"""

import os
import random
import secrets
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.factories import calls
from tests.factories.nursery import until
from tests.faults.acts import UNTOUCHED
from tests.faults.deeds import CHANGED, with_documents
from tests.faults.invariants import Expected, check
from tests.faults.scene import MIB, Scene

BACKENDS = ["sqlite-directory", "postgresql-s3"]
SEEDS_DRAWN = 8
BODY = bytes(16 * MIB)
PIECE = 256 * 1024
INDEXING_SECONDS_MAX = 1.5  # five documents take about a second on an idle machine


def _seeds() -> list[int]:
    asked = os.environ.get("FAULT_SEEDS", f"{SEEDS_DRAWN}x")
    if asked.endswith("x"):
        # All processes of one run must draw the same, and none that another run drew.
        dice = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(16)))
        return [dice.getrandbits(32) for _ in range(int(asked[:-1]))]
    return [int(seed) for seed in asked.split(",")]


SEEDS = _seeds()


def _text(number: int, dice: random.Random) -> str:
    return f"number word{number}x " + " ".join(f"filler{dice.randrange(2000)}" for _ in range(3000))


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_api_killed_in_the_middle_of_a_body_acknowledges_nothing_and_leaves_nothing(scene: Scene, seed: int) -> None:
    with_documents(scene)
    process, url = scene.serve()
    fatal = random.Random(seed).randrange(len(BODY) // PIECE)

    def body() -> Iterator[bytes]:
        for number in range(len(BODY) // PIECE):
            if number == fatal:
                process.kill()
            yield BODY[number * PIECE : (number + 1) * PIECE]

    said = {"Idempotency-Key": "once", "Content-Type": "application/octet-stream", "X-S4-Metadata": '{"year": 2026}'}
    with scene.tenant_at(url) as tenant, pytest.raises(httpx.TransportError):
        tenant.put("/documents/by-key/large", content=body(), headers=said)
    scene.let_time_pass()
    with scene.tenant() as tenant:
        answer = tenant.put("/documents/by-key/large", content=BODY, headers=said)
    assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (201, None), answer.text
    large = frozenset({"large"})
    check(scene, Expected(UNTOUCHED | {"large": BODY}, changed=large, unreadable=large))


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_while_it_indexes_loses_and_doubles_nothing(scene: Scene, seed: int) -> None:
    dice = random.Random(seed)
    with_documents(scene)
    texts = {f"d{number}": _text(number, dice) for number in range(4)} | {"k": _text(4, dice)}
    with scene.tenant() as tenant:
        for key, text in texts.items():
            calls.stored(calls.put(tenant, key, text, CHANGED))
    process = scene.worker(S4_WORKER_CONCURRENCY="8")
    until(lambda: process.events("worker.started"), "the worker does not start")
    time.sleep(dice.uniform(0, INDEXING_SECONDS_MAX))
    process.kill()
    # Groups that were being paid for at that moment are paid again, once.
    check(
        scene,
        Expected(UNTOUCHED | texts, changed=frozenset(texts), gone=("ancient",)),
        step="index.group_answered",
    )
