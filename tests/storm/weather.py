"""The faults of a storm and the schedule by which they come.

A schedule is drawn from a seed alone: which faults, when, for how long, and a number for each, from which the fault
draws what it hits. The same seed draws the same schedule; how the threads of eight processes interleave under it is not
in its power.
"""

import contextlib
import errno
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from obstore.store import S3Store

from tests.factories.index_damage import INDEX_FOLDERS, halve, index_objects, vanish
from tests.factories.misbehaviours import MISBEHAVIOURS
from tests.fault_proxy import Answer, Fault, FaultProxy, Mode
from tests.servers import RedisServer
from tests.storm.stage import Post, Stage
from tests.tcp_proxy import TcpProxy, Trouble

PAUSE_SECONDS = (0.2, 1.6)
"""Between the beginnings of two faults: they overlap now and then, and now and then all is well."""
LASTS_SECONDS = (0.4, 2.5)
"""From less than a retry waits to more than most deadlines and leases of the storm's settings."""
LONGER = {"a worker sleeps": 2.0, "an API sleeps": 2.0}
"""Until jobs and tickets of the sleepers have passed on."""
_TICK_SECONDS = 0.05
_FILL_BYTES = 1 << 20

Undo = Callable[[], None]
Begin = Callable[[Stage, random.Random], Undo]


@dataclass(frozen=True)
class Event:
    """One fault at its time, since the storm began. `number` decides what the fault leaves open."""

    at_seconds: float
    lasts_seconds: float
    fault: str
    number: int

    def __str__(self) -> str:
        return f"{self.at_seconds:7.2f} s  {self.fault} for {self.lasts_seconds:.2f} s"


def drawn(seed: int, seconds: float) -> list[Event]:
    """The schedule: all faults come before one comes again."""
    dice = random.Random(seed)
    events: list[Event] = []
    deck: list[str] = []
    at_seconds = dice.uniform(*PAUSE_SECONDS)
    while at_seconds < seconds:
        deck = deck or dice.sample(sorted(FAULTS), len(FAULTS))
        fault = deck.pop()
        lasts_seconds = dice.uniform(*LASTS_SECONDS) * LONGER.get(fault, 1.0)
        events.append(Event(at_seconds, lasts_seconds, fault, dice.getrandbits(32)))
        at_seconds += dice.uniform(*PAUSE_SECONDS)
    return events


def rage(stage: Stage, schedule: list[Event], seconds: float) -> None:
    """Plays the schedule, keeps the processes going meanwhile, and leaves nothing broken."""
    began = time.monotonic()
    coming = list(schedule)
    going: list[tuple[float, Undo]] = []
    try:
        while (passed := time.monotonic() - began) < seconds:
            for ended in [each for each in going if each[0] <= passed]:
                going.remove(ended)
                ended[1]()
            if coming and coming[0].at_seconds <= passed:
                event = coming.pop(0)
                print(event)
                going.append((passed + event.lasts_seconds, FAULTS[event.fault](stage, random.Random(event.number))))
            stage.keep()
            time.sleep(_TICK_SECONDS)
    finally:
        for _, undo in going:
            undo()
        stage.heal()


# -- lines


def _on_store(mode: Mode, every: int, *paths: str, method: str | None = None, delay_seconds: float = 0.0) -> Begin:
    return partial(
        _on_http,
        lambda stage: stage.store,
        lambda dice: [
            Fault(
                mode,
                method=method,
                path=path,
                every=every,
                skip=dice.randrange(every),
                after_bytes=dice.randrange(400),
                delay_seconds=delay_seconds,
            )
            for path in paths or ("",)
        ],
    )


def _refusing_store(status: int, headers: dict[str, str]) -> Begin:
    answer = Answer(status, headers, b"<?xml version='1.0'?><Error><Code>Injected</Code></Error>")
    return partial(_on_http, lambda stage: stage.store, lambda _: [Fault(Mode.ANSWER, every=2, answer=lambda: answer)])


def _on_provider(misbehaviour: str) -> Begin:
    return partial(_on_http, lambda stage: stage.provider, lambda _: [MISBEHAVIOURS[misbehaviour].fault()])


def _on_http(
    line: Callable[[Stage], FaultProxy],
    made: Callable[[random.Random], list[Fault]],
    stage: Stage,
    dice: random.Random,
) -> Undo:
    proxy, faults = line(stage), made(dice)
    for fault in faults:
        proxy.add(fault)

    def undo() -> None:
        for fault in faults:
            proxy.faults.remove(fault)
            stage.store_spoilt += fault.hits if fault.mode is Mode.WRONG_BYTES else 0

    return undo


def _on_tcp(line: Callable[[Stage], TcpProxy], trouble: Trouble, delay_seconds: float = 0.0) -> Begin:
    def begin(stage: Stage, dice: random.Random) -> Undo:
        line(stage).begin(trouble, delay_seconds=delay_seconds, after_bytes=dice.randrange(2000))
        return line(stage).heal

    return begin


# -- processes


def _strike(posts: list[Post], dice: random.Random) -> Post | None:
    """One of them that is up and that no other fault has."""
    post = dice.choice(posts)
    if post.struck or post.process is None or post.process.has_ended or not post.is_up:
        return None
    post.struck = True
    return post


def _kill(which: Callable[[Stage], list[Post]], stage: Stage, dice: random.Random) -> Undo:
    post = _strike(which(stage), dice)
    if post is None:
        return _nothing
    post.kill()

    def undo() -> None:
        post.start()
        post.struck = False

    return undo


def _stop(which: Callable[[Stage], list[Post]], stage: Stage, dice: random.Random) -> Undo:
    post = _strike(which(stage), dice)
    if post is None or post.process is None:
        return _nothing
    post.process.send(signal.SIGSTOP)

    def undo() -> None:
        assert post.process is not None
        post.process.send(signal.SIGCONT)
        post.struck = False

    return undo


def _down(server: str, halt: Callable[[Stage], None], resume: Callable[[Stage], None]) -> Begin:
    def begin(stage: Stage, _dice: random.Random) -> Undo:
        if server in stage.struck:
            return _nothing
        stage.struck.add(server)
        halt(stage)

        def undo() -> None:
            resume(stage)
            stage.struck.discard(server)

        return undo

    return begin


def _fill_disk(stage: Stage, _dice: random.Random) -> Undo:
    if stage.disk is None:
        print("           (there is no disk that could be filled)")
        return _nothing
    filler = stage.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(_FILL_BYTES))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
    return filler.unlink


def _started(server: RedisServer) -> None:
    server.wait()


def _on_index(how: Callable[[S3Store, str], None]) -> Begin:
    """Something happens to one file of one tenant's table, for good: nobody but S4 mends it."""

    def begin(stage: Stage, dice: random.Random) -> Undo:
        store = stage.bucket.client(stage.bucket_name)
        if paths := index_objects(store, stage.bucket_prefix, dice.choice(INDEX_FOLDERS)):
            path = dice.choice(paths)
            print(f"           ({path})")
            with contextlib.suppress(FileNotFoundError):  # cleaned up meanwhile
                how(store, path)
        return _nothing

    return begin


def _nothing() -> None:
    """The fault found nobody, or needs no undoing."""


def _database(stage: Stage) -> TcpProxy:
    return stage.database


def _redis(stage: Stage) -> TcpProxy:
    return stage.redis


def _apis(stage: Stage) -> list[Post]:
    return stage.apis


def _workers(stage: Stage) -> list[Post]:
    return stage.workers


_PROVIDER = (
    "429 with seconds", "500", "503 of a proxy", "another dimension", "NaN", "a cut vector", "a row too few",
    "another order, all numbered zero", "HTML called JSON", "cut JSON", "a reset", "a lost answer", "a cut answer",
    "a hang", "an answer that never comes",
)  # fmt: skip
FAULTS: dict[str, Begin] = {
    "store answers 503 SlowDown": _on_store(Mode.UNAVAILABLE, 2),
    "store answers 500": _refusing_store(500, {}),
    "store answers 429": _refusing_store(429, {"Retry-After": "1"}),
    "store answers 409 to writes": _on_store(Mode.CONFLICT, 3, method="PUT"),
    "store is away": _on_store(Mode.RESET, 1),
    "store resets": _on_store(Mode.RESET, 3),
    "store hangs": _on_store(Mode.HANG, 3),
    "store is late": _on_store(Mode.SLOW, 1, delay_seconds=0.3),
    "store's answers get lost": _on_store(Mode.LOST_REPLY, 3),
    "store's answers to writes get lost": _on_store(Mode.LOST_REPLY, 2, method="PUT"),
    "store's answers never come": _on_store(Mode.HANG_REPLY, 5),
    "store's bodies are cut": _on_store(Mode.DROP_DOWNLOAD, 2, method="GET"),
    "store's bodies stop": _on_store(Mode.STALL_DOWNLOAD, 3, method="GET"),
    # Of what S4 keeps with a hash of its own. Heads carry none, and index files are Lance's.
    "store's bodies have wrong bytes": _on_store(Mode.WRONG_BYTES, 2, "/content", "/embeddings/", method="GET"),
    **{f"provider: {name}": _on_provider(name) for name in _PROVIDER},
    "database is late": _on_tcp(_database, Trouble.LATENCY, 0.05),
    "database is slow": _on_tcp(_database, Trouble.DRIP, 0.01),
    "database freezes": _on_tcp(_database, Trouble.FREEZE),
    "database forgets its connections": _on_tcp(_database, Trouble.FORGET),
    "database resets": _on_tcp(_database, Trouble.RESET),
    "database breaks off": _on_tcp(_database, Trouble.CUT),
    "database is away": _on_tcp(_database, Trouble.DOWN),
    "postgresql is restarted": _down(
        "postgresql", lambda stage: stage.postgresql.halt(signal.SIGINT), lambda stage: stage.postgresql.resume()
    ),
    "postgresql is killed": _down(
        "postgresql", lambda stage: stage.postgresql.halt(signal.SIGKILL), lambda stage: stage.postgresql.resume()
    ),
    "redis is late": _on_tcp(_redis, Trouble.LATENCY, 0.15),
    "redis freezes": _on_tcp(_redis, Trouble.FREEZE),
    "redis forgets its connections": _on_tcp(_redis, Trouble.FORGET),
    "redis resets": _on_tcp(_redis, Trouble.RESET),
    "redis breaks off": _on_tcp(_redis, Trouble.CUT),
    "redis is away": _on_tcp(_redis, Trouble.DOWN),
    "redis is killed": _down(
        "redis", lambda stage: stage.redis_server.stop(), lambda stage: _started(stage.redis_server)
    ),
    "an API is killed": partial(_kill, _apis),
    "a worker is killed": partial(_kill, _workers),
    "an API sleeps": partial(_stop, _apis),
    "a worker sleeps": partial(_stop, _workers),
    "disk is full": _fill_disk,
    # Bytes that turn are left to acceptance/test_damaged_index.py: a search that reads the bucket, while there is no
    # copy to be had, may take them for true.
    "a file of an index vanishes": _on_index(vanish),
    "a file of an index is cut": _on_index(halve),
}
"""By name; each breaks something and answers with how to mend it."""
