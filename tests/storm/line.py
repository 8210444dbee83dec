"""What a storm's clients speak through: either replica, and every answer is judged.

An answer 503 with `Retry-After`, a broken connection and a replica that is away are all the same to a client: it does
not know what happened. Everything else from 500 on, a 503 without `Retry-After`, an answer that takes longer than any
bound of S4's, and any word of another tenant's is written down as a violation.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

ANSWER_SECONDS_MAX = 60
"""Far above what the deadlines of a request add up to with the storm's settings."""
_HARMLESS = ("/search", "/reprocess", "/recount")
_LOOK_SECONDS = 0.05


class Busy(httpx.TransportError):
    """S4 says that it does not know, or cannot now, and when to come back."""


class Wrong(StrEnum):
    """What a violation is one of."""

    ANSWER = "an answer that must not be"
    FOREIGN = "something of another tenant's"
    SEEN = "not what its owner knows"
    ENDED = "a process that ended by itself"


@dataclass
class Witness:
    """What was seen, from however many threads."""

    violations: dict[Wrong, list[str]] = field(default_factory=lambda: {kind: [] for kind in Wrong})
    answers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def blame(self, kind: Wrong, violation: str) -> None:
        print(f"           VIOLATION, {kind}: {violation}")
        self.violations[kind].append(violation)

    def count(self, answer: str) -> None:
        with self._lock:
            self.answers[answer] += 1


class Line(httpx.BaseTransport):
    """To whichever of `replicas` the dice choose. With `patience_seconds`, harmless requests are repeated so long."""

    def __init__(
        self,
        replicas: Callable[[], Sequence[str]],
        witness: Witness,
        dice: random.Random,
        *,
        foreign: Set[str] = frozenset(),
        patience_seconds: float = 0,
    ) -> None:
        """`foreign`: words that may not stand in any answer."""
        self._replicas = replicas
        self._witness = witness
        self._dice = dice
        self._foreign = foreign
        self._patience_seconds = patience_seconds
        self._wire = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        harmless = request.method == "GET" or request.url.path.endswith(_HARMLESS)
        give_up_at = time.monotonic() + (self._patience_seconds if harmless else 0)
        while True:
            try:
                return self._ask(request)
            except httpx.TransportError as error:
                if time.monotonic() >= give_up_at:
                    if self._patience_seconds and harmless:
                        raise AssertionError(f"{request.method} {request.url.path} is never answered") from error
                    raise
                time.sleep(_LOOK_SECONDS)

    def _ask(self, request: httpx.Request) -> httpx.Response:
        replicas = self._replicas()
        if not replicas:
            raise httpx.ConnectError("no replica is up")
        place = httpx.URL(self._dice.choice(replicas))
        request.url = request.url.copy_with(scheme=place.scheme, host=place.host, port=place.port)
        started = time.monotonic()
        try:
            answer = self._wire.handle_request(request)
            answer.read()
        except httpx.TransportError as error:
            self._witness.count(type(error).__name__)
            if isinstance(error, httpx.ReadTimeout) or time.monotonic() - started > ANSWER_SECONDS_MAX:
                self._witness.blame(
                    Wrong.ANSWER, f"no answer within {ANSWER_SECONDS_MAX} s: {request.method} {request.url.path}"
                )
            raise
        self._witness.count(str(answer.status_code))
        self._judge(request, answer)
        if answer.status_code in (429, 503):
            raise Busy(f"{answer.status_code}: {answer.text[:200]}")
        return answer

    def _judge(self, request: httpx.Request, answer: httpx.Response) -> None:
        asked = f"{request.method} {request.url.path}: {answer.status_code}"
        if answer.status_code >= 500 and answer.status_code != 503:
            self._witness.blame(Wrong.ANSWER, f"{asked} {answer.headers.get('X-Request-Id')} {answer.text[:500]}")
        if answer.status_code in (429, 503) and "Retry-After" not in answer.headers:
            self._witness.blame(Wrong.ANSWER, f"{asked} without Retry-After: {answer.text[:500]}")
        text = answer.text + str(answer.headers)
        for word in self._foreign:
            if word in text:
                self._witness.blame(Wrong.FOREIGN, f"{asked} holds another tenant's {word!r}")

    def close(self) -> None:
        self._wire.close()
