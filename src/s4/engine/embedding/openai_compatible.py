"""Embeddings from OpenAI or from anything that speaks its embeddings API.

The other side is not trusted to be well: it throttles, hangs, answers with a proxy's HTML and status 200,
loses or shuffles rows. So each answer is checked before a vector leaves this module (`openai_answers`), and each
failure is sorted by what helps:

    429, 408, 409, 5xx, no connection, no answer in time   repeat, then `Unavailable`
    a bad answer                                           the same, but fewer times: it is on the bill
    401, 402, 403, 404, redirects and the like             `Unavailable` at once, for the operator
    400, 413, 422                                          halve the batch; a single text is `DocumentRejected`

Failures in a row, or one that says so itself, open the breaker: then nobody asks until its watch got a good answer.

A 400 may also mean that the request itself is wrong (an unknown model, a parameter that this server does
not know), and then no document is to blame. Hence a harmless text is embedded first: this probe finds the
dimension, finds out which parameters the server takes, recognises the model, and is repeated before a document is
given up. It is also what the watch asks.

The library's own repeats are off (`max_retries=0`): they know neither our deadline nor our metrics.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NoReturn

import numpy as np
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    omit,
)
from openai.types import CreateEmbeddingResponse

from s4.engine.embedding import approximate
from s4.engine.embedding.base import Answered, Vectors, fingerprint, slug, unheard
from s4.engine.embedding.breaker import Breaker, NotWell
from s4.engine.embedding.known import CANARY, KnownModel, ModelMemory
from s4.engine.embedding.openai_answers import (
    AnswerBound,
    AnswerTooLargeError,
    RefusedError,
    checked,
    sorted_status,
    wordless,
)
from s4.kernel.errors import Conflict, DocumentRejected, Unavailable
from s4.platform.telemetry import traces
from s4.platform.telemetry.metrics import EMBEDDING_REQUESTS, EMBEDDING_SECONDS, EMBEDDING_TEXTS, EMBEDDING_TOKENS

OPENAI_URL = "https://api.openai.com/v1"
_TOKENS_MAX = 8191  # of OpenAI's models; chunks are far smaller, and a server with less refuses or cuts by itself
_BACKOFF_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 20.0
# A longer wish is passed on to the caller, whose job can wait without holding memory.
_WAIT_MAX = timedelta(seconds=30)
_QUERY_WAIT_MAX = timedelta(seconds=1)  # a search rather answers from keywords
_PROBE_TIMEOUT = timedelta(seconds=10)  # one short sentence; a process that starts waits no longer
_PAID_ATTEMPTS_MAX = 3  # of one batch whose answers are bad: they are billed all the same


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Which optional parameters the server takes. Unset `encoding_format` lets the library ask for base64."""

    encoding_format: Literal["float"] | None
    sends_dimension: bool


class OpenAICompatibleEmbedder:
    """A model behind `POST {base_url}/embeddings`."""

    provider = "openai"
    tokens_max = _TOKENS_MAX

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None,
        base_url: str | None = None,
        dimension: int | None = None,
        batch_tokens: int = 16_384,
        batch_items: int = 128,
        timeout: timedelta = timedelta(seconds=60),
        query_timeout: timedelta = timedelta(seconds=5),
        retries_max: int = 5,
        probe_pause_max: timedelta = timedelta(seconds=30),
        memory: ModelMemory | None = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`dimension`: None takes the model's. `timeout` is of one attempt, `query_timeout` of a whole query.

        `probe_pause_max`: between questions of the breaker's watch. `memory`: where the model is remembered.
        `sleep` (seconds) and `jitter` (0 to 1) are the pause between attempts, for tests to replace.
        """
        self._bound = AnswerBound(items=batch_items)
        # Servers on one's own machine want no key, the library insists on one.
        self._client = AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url or OPENAI_URL,
            max_retries=0,
            timeout=timeout.total_seconds(),
            http_client=self._bound.client(timeout),  # type: ignore[arg-type]  # it takes httpx and its successor
        )
        # The library would take these from OPENAI_* variables and send them to any server.
        self._client.organization = None
        self._client.project = None
        self._model = model
        self._dimension = dimension
        self._dimension_asked = dimension
        self._batch_tokens = batch_tokens
        self._batch_items = batch_items
        self._timeout = timeout
        self._query_timeout = query_timeout
        self._attempts_max = retries_max + 1
        self._sleep = sleep
        self._jitter = jitter
        self._memory = memory
        self._known: KnownModel | None = None
        self._dialect: _Dialect | None = None
        self._preparing = asyncio.Lock()
        self._breaker = Breaker(self._probe, provider=self.provider, pause_max=probe_pause_max)

    @property
    def dimension(self) -> int:
        if self._dimension is None:
            raise Unavailable(
                f"The dimension of the embedding model {self._model!r} is not known until its provider has answered "
                "once; set S4_EMBEDDING_DIMENSION to go on without it."
            )
        return self._dimension

    @property
    def space(self) -> str:
        """Names the model, not the address: a proxy or another port serves the same vectors."""
        return f"openai-{slug(self._model)}-{self.dimension}-{fingerprint(self._model)}"

    @property
    def trouble(self) -> str | None:
        return self._breaker.reason

    async def prepare(self) -> None:
        """Probe the server once. Raises `Unavailable`, with `details["reason"]`, while it is not well or another model
        than it was."""
        await self._prepared()

    async def _prepared(self) -> _Dialect:
        async with self._preparing:
            self._breaker.check()
            if self._dialect is None:
                try:
                    await self._probe()
                except NotWell as error:
                    self._breaker.open(error.reason, retry_after=error.retry_after)
                    raise Unavailable(error.message, details=error.details) from error
                except Conflict as error:  # with what is known of the model: the watch finds out whether it stays so
                    self._breaker.open(error.code)
                    raise Unavailable(error.message, details={"reason": error.code}) from error
            assert self._dialect is not None, "the probe found it"
            return self._dialect

    async def _probe(self) -> None:
        """A harmless sentence, once: finds the dialect and recognises the model. Raises `NotWell`,
        and `Conflict` when it is another one."""
        await self._recall()
        refused: Exception | None = None
        for dialect in self._dialects():
            try:
                canary = await self._canary(dialect)
            except RefusedError as refusal:
                refused = refusal
                continue
            if self._known is None:
                await self._meet(canary, dialect)
            assert self._known is not None, "it was met"
            self._known.recognise(self._model, canary)
            await self._recall()
            self._dialect = dialect
            return
        raise NotWell(
            "misconfigured",
            definite=True,
            message=f"The embedding provider refuses even a plain sentence for model {self._model!r}: "
            "check the model's name and dimension.",
        ) from refused

    async def _recall(self) -> None:
        """What an earlier process learned of this model."""
        if self._known is None and self._memory is not None:
            self._known = await self._memory.load(self._name)
        if self._known is not None:
            self._dimension = self._known.dimension
            self._bound.expect(self._known.dimension)

    async def _canary(self, dialect: _Dialect) -> Vectors:
        vectors = await self._attempt([CANARY], dialect, timeout=min(self._timeout, _PROBE_TIMEOUT), any_dimension=True)
        row: Vectors = vectors[0]
        return row

    async def _meet(self, canary: Vectors, dialect: _Dialect) -> None:
        """A model that is new. What is remembered of it stays for ever, so it has to say the same twice."""
        learned = KnownModel(canary)
        if self._dimension_asked is not None:
            learned.expect_dimension(self._model, self._dimension_asked)
        try:
            learned.recognise(self._model, await self._canary(dialect))
        except Conflict as error:
            raise NotWell("bad_answer", paid=True) from error
        self._known = learned if self._memory is None else await self._memory.save(self._name, learned)

    @property
    def _name(self) -> str:
        """Of the model as it is asked for: one model may have vectors of several dimensions."""
        return f"openai-{slug(self._model)}-{self._dimension_asked or 'own'}-{fingerprint(self._model)}"

    def count_tokens(self, text: str) -> int:
        return approximate.count_tokens(text)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return approximate.token_offsets(text)

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        """One vector per text, a request after the other: documents in work at once are the concurrency."""
        dialect = await self._prepared()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start, end in self._batches(texts):
            vectors[start:end] = await self._embed(texts[start:end], dialect, answered)
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        row: Vectors = (await self.embed_queries([text]))[0]
        return row

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """One vector per text within `query_timeout`, or `Unavailable`: the searches then take keywords."""
        try:
            async with asyncio.timeout(self._query_timeout.total_seconds()):
                dialect = await self._prepared()
                vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
                for start, end in self._batches(texts):
                    vectors[start:end] = await self._repeat(texts[start:end], dialect, wait_max=_QUERY_WAIT_MAX)
                EMBEDDING_TEXTS.labels(self.provider, "queries").inc(len(texts))
                return vectors
        except TimeoutError as error:
            self._breaker.failed("timeout")
            raise Unavailable(
                "The embedding provider did not answer in time.", details={"reason": "timeout"}
            ) from error
        except RefusedError as error:
            raise Unavailable("The embedding provider refuses this query.", details={"reason": "refused"}) from error

    async def aclose(self) -> None:
        """End the watch, close the connections."""
        await self._breaker.aclose()
        await self._client.close()

    def _dialects(self) -> list[_Dialect]:
        """What to try, the cheapest answer first. Small servers know neither base64 nor `dimensions`."""
        found = [_Dialect(None, True), _Dialect("float", True)]
        if self._dimension_asked is not None:
            found.append(_Dialect("float", False))
        return found

    def _batches(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        start, tokens = 0, 0
        for position, text in enumerate(texts):
            size = self.count_tokens(text)
            if position > start and (tokens + size > self._batch_tokens or position - start == self._batch_items):
                found.append((start, position))
                start, tokens = position, 0
            tokens += size
        if start < len(texts):
            found.append((start, len(texts)))
        return found

    async def _embed(self, texts: Sequence[str], dialect: _Dialect, answered: Answered) -> Vectors:
        """Halves what is refused, down to the one text that is to blame; depth is log2 of the batch."""
        try:
            vectors = await self._repeat(texts, dialect)
        except RefusedError as refusal:
            if len(texts) == 1:
                await self._blame_text_or_provider(dialect, refusal)
        else:
            EMBEDDING_TEXTS.labels(self.provider, "documents").inc(len(texts))
            answered(texts, vectors)
            return vectors
        middle = len(texts) // 2
        first = await self._embed(texts[:middle], dialect, answered)
        return np.concatenate([first, await self._embed(texts[middle:], dialect, answered)])

    async def _blame_text_or_provider(self, dialect: _Dialect, refusal: RefusedError) -> NoReturn:
        try:
            await self._repeat([CANARY], dialect)
        except RefusedError as error:
            self._dialect = None  # the server changed: the watch probes anew
            self._breaker.open("misconfigured")
            raise Unavailable(
                "The embedding provider now refuses every text: check its configuration.",
                details={"reason": "misconfigured"},
            ) from error
        raise DocumentRejected(
            f"The embedding provider refuses a passage of this document: {refusal}", code="provider_rejected"
        ) from refusal

    async def _repeat(self, texts: Sequence[str], dialect: _Dialect, *, wait_max: timedelta = _WAIT_MAX) -> Vectors:
        """One batch, as often as it takes or is allowed. Raises `RefusedError` or `Unavailable`."""
        for attempt in range(1, self._attempts_max + 1):
            self._breaker.check()
            try:
                vectors = await self._attempt(texts, dialect, timeout=self._timeout)
                self._breaker.succeeded()
                return vectors
            except NotWell as error:
                pause = _pause(attempt, error.retry_after, self._jitter())
                last = attempt == self._attempts_max or (error.paid and attempt >= _PAID_ATTEMPTS_MAX)
                if error.definite or (error.retry_after is not None and pause > wait_max):
                    self._breaker.open(error.reason, retry_after=error.retry_after)
                else:
                    self._breaker.failed(error.reason, retry_after=error.retry_after)
                if error.definite or last or pause > wait_max:
                    raise Unavailable(error.message, details=error.details, retry_after=pause) from error
                if error.retry_after is not None:  # all workers were told the same
                    pause *= 1 + self._jitter() / 5
            await self._sleep(pause.total_seconds())
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, texts: Sequence[str], dialect: _Dialect, *, timeout: timedelta, any_dimension: bool = False
    ) -> Vectors:
        started = time.perf_counter()
        outcome = "error"
        try:
            with traces.span("embeddings", {"gen_ai.provider.name": self.provider, "s4.texts": len(texts)}):
                answer = await self._request(texts, dialect, timeout)
            vectors = checked(answer, count=len(texts), dimension=None if any_dimension else self._dimension)
            outcome = "ok"
            EMBEDDING_TOKENS.labels(self.provider).inc(self._billed_tokens(answer, texts))
            return vectors
        except RefusedError:
            outcome = "refused"
            raise
        except NotWell as error:
            outcome = error.reason
            raise
        finally:
            EMBEDDING_REQUESTS.labels(self.provider, outcome).inc()
            EMBEDDING_SECONDS.labels(self.provider).observe(time.perf_counter() - started)

    async def _request(self, texts: Sequence[str], dialect: _Dialect, timeout: timedelta) -> CreateEmbeddingResponse:
        try:
            # The library's timeout is per read; a server that drips bytes would never meet it.
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._client.embeddings.create(
                    input=list(texts),
                    model=self._model,
                    dimensions=(self._dimension_asked or omit) if dialect.sends_dimension else omit,
                    encoding_format=dialect.encoding_format or omit,
                )
        except APIStatusError as error:
            raise sorted_status(error) from wordless(error)
        except (TimeoutError, APITimeoutError) as error:
            raise NotWell("timeout") from wordless(error)
        except APIConnectionError as error:
            raise NotWell("no_connection") from wordless(error)
        except (APIError, AttributeError, TypeError, ValueError, RecursionError, AnswerTooLargeError) as error:
            # What the library throws when the body is no JSON, or JSON of another shape.
            raise NotWell("bad_answer", paid=True) from wordless(error)

    def _billed_tokens(self, answer: CreateEmbeddingResponse, texts: Sequence[str]) -> int:
        billed = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        if isinstance(billed, int) and billed > 0:
            return billed
        return sum(map(self.count_tokens, texts))


def _pause(attempt: int, asked: timedelta | None, jitter: float) -> timedelta:
    """What the provider asked for, else 0.5 s doubling to 20 s, half of it random: workers spread."""
    if asked is not None:
        return asked
    ceiling = min(_BACKOFF_SECONDS * 2 ** (attempt - 1), _BACKOFF_MAX_SECONDS)
    return timedelta(seconds=ceiling * (0.5 + 0.5 * jitter))
