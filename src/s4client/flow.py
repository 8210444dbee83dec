"""Operations without I/O, written once for both clients.

An operation is a generator, a `Flow[T]`: it yields what it needs done (send this, pause so long), is sent the
reply, and returns a `T`. `transport.py` has two drivers that do what a flow asks, one blocking and one
asynchronous. The decorators here make a method of a flow: on a client with the blocking driver, calling it
returns a `T`; on one with the asynchronous driver, a coroutine of `T`. Type checkers see both.
"""

import functools
import json as json_
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from pydantic import BaseModel, ValidationError

from s4client.content import Body
from s4client.errors import RateLimited, S4ApiError, S4ConnectionError, UnexpectedAnswer, api_error

P = ParamSpec("P")
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

Params = Mapping[str, str | int | float | Sequence[str]]


class Sink(Protocol):
    """Takes the body of a successful answer piece by piece; adds headers to each attempt.

    `write` keeps a piece, and may be called in another thread; `received` counts it.
    """

    received_bytes: int

    def headers(self) -> Mapping[str, str]: ...
    def begin(self, status: int, headers: Mapping[str, str]) -> None: ...
    def write(self, piece: bytes) -> None: ...
    def received(self, count_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`repeatable`: sending it twice comes to the same as sending it once. `path` is percent-encoded."""

    method: str
    path: str
    repeatable: bool
    params: Params = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    body: Body | None = None
    sink: Sink | None = None
    expected: frozenset[int] = frozenset()
    """Statuses beyond 2xx that are no error here."""
    patience_seconds: float = 0.0
    """How much longer than usual the answer may take."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` looks names up without regard to case. `content` is empty when a sink took the body."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        try:
            return json_.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer("The answer is not JSON: is the address that of an S4 server?") from error

    def parse(self, model: type[ModelT], **known: Any) -> ModelT:
        """The answer as `model`; `known` are fields that it need not bring."""
        answer = self.json()
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(f"The answer is not the {model.__name__} that was expected.")
        try:
            return model.model_validate(known | answer)
        except ValidationError as error:
            raise UnexpectedAnswer(f"The answer is not the {model.__name__} that was expected: {error}") from error


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


Effect = Request | Pause
Flow = Generator[Effect, Reply | None, T]
Batch = tuple[Sequence[T], str | None]
"""Some items and the cursor of the next, None after the last."""
Pages = Callable[[str | None], Flow[Batch[T]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a request is repeated. Pauses double, with jitter against herds."""

    attempts_max: int = 5
    pause_seconds: float = 0.25
    pause_max_seconds: float = 8.0
    retry_after_max_seconds: float = 60.0
    """An answer that asks for a longer wait is raised at once: the caller has better to do meanwhile."""
    uniform: Callable[[], float] = random.random
    """Jitter, in 0..1."""

    def pause(self, attempt: int) -> float:
        """Seconds after the `attempt`-th failure, counted from 1."""
        longest = min(self.pause_max_seconds, self.pause_seconds * 2.0 ** (attempt - 1))
        return longest * (0.5 + self.uniform() / 2)

    def pause_asked_for(self, seconds: float) -> float:
        """Up to a fifth longer: an outage tells everybody the same number, and all would come back at once."""
        return seconds * (1 + self.uniform() / 5)


class Connection:
    """What operations and drivers share. A driver fills it."""

    base_url: str
    retry: RetryPolicy
    monotonic: Callable[[], float] = staticmethod(time.monotonic)

    def send(self, request: Request) -> Flow[Reply]:
        """The answer, if it is a success; repeated within the policy if that can do no harm."""
        attempt = 0
        unsure = False
        while True:
            attempt += 1
            received_before = request.sink.received_bytes if request.sink else 0
            failure: S4ApiError | S4ConnectionError
            try:
                reply = yield request
            except S4ConnectionError as error:
                failure = error
            else:
                assert reply is not None
                if reply.status < 300 or reply.status in request.expected:
                    return reply
                if reply.status < 400 and (elsewhere := reply.headers.get("location")):
                    raise UnexpectedAnswer(f"{self.base_url} redirects to {elsewhere}: use the address of S4 itself.")
                failure = api_error(reply.status, reply.headers, reply.content, now=datetime.now(UTC))
                failure.repeated = unsure
            if request.sink is not None and request.sink.received_bytes > received_before:
                attempt = 1  # it got further, so that this ends
            if attempt >= self.retry.attempts_max or not self._may_repeat(request, failure):
                raise failure
            unsure = unsure or _may_have_been_done(failure)
            asked_for = failure.retry_after if isinstance(failure, S4ApiError) else None
            yield Pause(max(self.retry.pause_asked_for(asked_for or 0.0), self.retry.pause(attempt)))

    def _may_repeat(self, request: Request, failure: S4ApiError | S4ConnectionError) -> bool:
        if request.body is not None and not request.body.can_be_sent:
            return False
        if isinstance(failure, S4ConnectionError):
            return request.repeatable or not failure.sent
        if (failure.retry_after or 0.0) > self.retry.retry_after_max_seconds:
            return False
        return isinstance(failure, RateLimited) or (request.repeatable and _is_passing(failure))


def _is_passing(failure: S4ApiError) -> bool:
    return failure.status in (502, 503, 504)


def _may_have_been_done(failure: S4ApiError | S4ConnectionError) -> bool:
    return failure.sent if isinstance(failure, S4ConnectionError) else _is_passing(failure)


class BlockingDriver(Protocol):
    """Returns what a flow returns."""

    def run(self, flow: Flow[T]) -> T: ...
    def run_pages(self, pages: Pages[T]) -> Iterator[T]: ...
    def run_stream(self, flow: Flow[None]) -> Iterator[bytes]: ...


class AsyncDriver(Protocol):
    """The same, to be awaited."""

    def run(self, flow: Flow[T]) -> Coroutine[Any, Any, T]: ...
    def run_pages(self, pages: Pages[T]) -> AsyncIterator[T]: ...
    def run_stream(self, flow: Flow[None]) -> AsyncIterator[bytes]: ...


class operation(Generic[P, T]):  # noqa: N801 - used as a decorator, like `property`
    """Makes a method of a function that returns a flow. Looked up on the class, it is that function."""

    def __init__(self, function: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.function = function

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Flow[T]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self.function

        @functools.wraps(self.function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(self.function(client, *args, **kwargs))

        return call


class paged(Generic[P, T]):  # noqa: N801 - used as a decorator, like `property`
    """Makes a method that iterates over all items of a function that returns pages of them."""

    def __init__(self, function: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        self.function = function

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Pages[T]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self.function

        @functools.wraps(self.function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run_pages(self.function(client, *args, **kwargs))

        return call


class streamed(Generic[P]):  # noqa: N801 - used as a decorator, like `property`
    """Makes a method that iterates over the pieces that a flow's sink is sent."""

    def __init__(self, function: Callable[Concatenate[Any, P], Flow[None]]) -> None:
        self.function = function

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Flow[None]]: ...
    @overload
    def __get__(self, client: BlockingDriver, owner: type) -> Callable[P, Iterator[bytes]]: ...
    @overload
    def __get__(self, client: AsyncDriver, owner: type) -> Callable[P, AsyncIterator[bytes]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self.function

        @functools.wraps(self.function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run_stream(self.function(client, *args, **kwargs))

        return call
