"""Tenants, those who live there, and a storm that passes over them."""

import functools
import random
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx

from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY
from tests.factories.nursery import until
from tests.factories.owners import check_end_states
from tests.servers import S3Server
from tests.storm.line import Line, Wrong
from tests.storm.residents import Resident
from tests.storm.stage import Stage, open_stage
from tests.storm.weather import drawn, rage

T = TypeVar("T")

TENANTS = 3
SHORT_SECONDS = 30
"""A storm that is shorter has one resident per tenant; a longer one two, who change one tenant's documents at once."""
TEXT_WORDS = (10, 60, 600)
"""One chunk or a few: four processes share two cores with the servers."""
PATIENCE_SECONDS = 120
"""For everything to be well again after a storm, on a machine that has other work, too."""
UNLUCKY_CODES = frozenset({"resource_limit", "data_corrupt", "internal", "dependency_unavailable"})
"""Of documents that had bad luck several times over: they say so, and a reprocess makes them ready."""
_WAIT_SECONDS = 0.05


@dataclass
class Household:
    """A tenant and who lives there. `mark` stands in everything that they upload."""

    tenant_id: str
    key: str
    mark: str
    residents: list[Resident]


class Town:
    """What storms pass over."""

    def __init__(self, stage: Stage, dice: random.Random, *, residents: int) -> None:
        self.stage = stage
        self._dice = dice
        self._residents = residents
        self.households = [self._household(number) for number in range(TENANTS)]
        for household in self.households:
            for resident in household.residents:
                resident.strangers = self.strangers_of(household)

    def _household(self, number: int) -> Household:
        mark = f"mark{self._dice.getrandbits(64):016x}"
        with self.admin() as admin:
            answer = admin.post("/admin/tenants", json={"name": f"Tenant {number}"})
        assert answer.status_code == 201, answer.text
        residents = [
            Resident(place, random.Random(self._dice.getrandbits(64)), mark, TEXT_WORDS)
            for place in range(self._residents)
        ]
        return Household(answer.json()["id"], answer.json()["api_key"], mark, residents)

    @property
    def residents(self) -> list[Resident]:
        return [resident for household in self.households for resident in household.residents]

    @property
    def acknowledged(self) -> int:
        return sum(resident.acknowledged for resident in self.residents)

    @property
    def logs(self) -> list[Path]:
        return [log for post in self.stage.posts for log in post.logs]

    @property
    def secrets(self) -> list[str]:
        return [*self.stage.secret_words, *(household.key for household in self.households)]

    def strangers_of(self, household: Household) -> list[Resident]:
        return [each for other in self.households if other is not household for each in other.residents]

    def admin(self) -> httpx.Client:
        line = Line(self.stage.urls, self.stage.witness, random.Random(0), patience_seconds=PATIENCE_SECONDS)
        return self.stage.client(line, **{"X-Admin-Key": ADMIN_KEY})

    def tenant(self, household: Household, *, patience_seconds: float = 0) -> httpx.Client:
        line = Line(
            self.stage.urls,
            self.stage.witness,
            random.Random(self._dice.getrandbits(64)),
            foreign=frozenset(other.mark for other in self.households if other is not household),
            patience_seconds=patience_seconds,
        )
        return self.stage.client(line, **{"X-Tenant-Key": household.key})

    @contextmanager
    def inhabited(self) -> Iterator[None]:
        """Everybody is at work until the block ends. Whoever sees what must not be stops and tells it."""
        stop = threading.Event()
        everybody = [(resident, household) for household in self.households for resident in household.residents]
        with ThreadPoolExecutor(len(everybody)) as pool:
            lives = [pool.submit(each.live, self.tenant(household), stop) for each, household in everybody]
            try:
                yield
            finally:
                stop.set()
        for life in lives:
            if (error := life.exception()) is not None:
                self.stage.witness.blame(Wrong.SEEN, "".join(traceback.format_exception(error)))

    def settle(self) -> None:
        """Residents repeat what was not answered, until they know."""

        def settle(household: Household) -> None:
            with self.tenant(household) as tenant:
                for resident in household.residents:
                    _until_answered(partial(resident.settle, tenant))

        self.each(settle)

    def each(self, act: Callable[[Household], T]) -> list[T]:
        """For every household, side by side."""
        with ThreadPoolExecutor(len(self.households)) as pool:
            return list(pool.map(act, self.households))

    def patient(self, household: Household) -> httpx.Client:
        """The tenant, after the storm."""
        return self.tenant(household, patience_seconds=PATIENCE_SECONDS)

    @functools.cache  # noqa: B019 (there is one town)
    def await_ends(self) -> None:
        """Until all documents have ended, which takes no longer than the bound; the unlucky ones are reprocessed."""

        def end(household: Household) -> int:
            with self.patient(household) as tenant:
                return check_end_states(tenant, unlucky_codes=UNLUCKY_CODES, seconds_max=PATIENCE_SECONDS)

        print(f"{sum(self.each(end))} documents had to be reprocessed")

    def listed(self) -> dict[str, set[str]]:
        """Ids of all documents, by tenant."""
        listed = {}
        for household in self.households:
            with self.patient(household) as tenant:
                listed[household.tenant_id] = set(calls.everything(tenant))
        return listed


@contextmanager
def after_a_storm(folder: Path, bucket: S3Server, bucket_name: str, *, seed: int, seconds: float) -> Iterator[Town]:
    """The town, once a storm has passed, everybody is up again and knows what is."""
    print(f"\nseed {seed}: play it again with  make storm SEED={seed} MINUTES={seconds / 60:g}")
    with open_stage(folder, bucket, bucket_name) as stage:
        until(lambda: len(stage.urls()) == len(stage.apis), "the replicas do not start")
        town = Town(stage, random.Random(f"load {seed}"), residents=1 if seconds < SHORT_SECONDS else 2)
        with town.inhabited():
            rage(stage, drawn(seed, seconds), seconds)
        _calm(stage)
        try:
            town.settle()
        except AssertionError:
            print("sessions of the catalog:", *stage.sessions(), sep="\n")
            raise
        _explain(stage, town)
        print("answers:", dict(sorted(stage.witness.answers.items())))
        print(f"{town.acknowledged} changes acknowledged")
        yield town


def _calm(stage: Stage) -> None:
    """Everybody is up."""

    def all_up() -> bool:
        stage.keep()
        return all(post.is_up for post in stage.posts)

    until(all_up, "somebody does not come back")


def _until_answered(act: Callable[[], None]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except httpx.TransportError as error:
            if time.monotonic() > give_up_at:
                raise AssertionError(f"still not answered: {error}") from error
            time.sleep(_WAIT_SECONDS)


def _explain(stage: Stage, town: Town) -> None:
    """Prints what the logs say of answers that must not be."""
    for violation in stage.witness.violations[Wrong.ANSWER]:
        if (request := re.search("req_[a-z0-9]+", violation)) is not None:
            for log in town.logs:
                for line in log.read_text(errors="replace").splitlines():
                    if request[0] in line:
                        print(f"{log.name}: {line}")
