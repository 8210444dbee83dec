"""Embeddings from OpenAI or from anything that speaks its embeddings API.

The other side is not trusted to be well: it throttles, hangs, answers with a proxy's HTML and status 200,
loses or shuffles rows. So each answer is checked before a vector leaves this module (as many rows as texts,
order by `index`, the known dimension, finite, not zero), and each failure is sorted by what helps:

    429, 408, 409, 5xx, no connection, no answer in time, a bad answer   repeat, then `Unavailable` 401,
    402, 403, 404 and the like                                      `Unavailable` at once, for the operator
    400, 413, 422                                                        halve the batch; a single text is
                                                                         `DocumentRejected`

A 400 may also mean that the request itself is wrong (an unknown model, a parameter that this server does
not know), and then no document is to blame. Hence a harmless text is embedded first: this probe finds the
dimension, finds out which parameters the server takes, and is repeated before a document is given up.

The library's own repeats are off (`max_retries=0`): they know neither our deadline nor our metrics.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from s4.engine.embedding.base import Vectors, fingerprint, normalised, slug
from s4.engine.embedding.retry_after import parse_retry_after
from s4.kernel.errors import DocumentRejected, Unavailable
from s4.platform.telemetry.metrics import EMBEDDING_REQUESTS, EMBEDDING_SECONDS, EMBEDDING_TOKENS

OPENAI_URL = "https://api.openai.com/v1"
_TOKENS_MAX = 8191  # of OpenAI's models; chunks are far smaller, and a server with less refuses or cuts by itself
_BACKOFF_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 20.0
# A longer wish is passed on to the caller, whose job can wait without holding memory.
_WAIT_MAX = timedelta(seconds=30)
_QUERY_WAIT_MAX = timedelta(seconds=1)  # a search rather answers from keywords
_OPERATOR_RETRY_AFTER = timedelta(minutes=5)  # a wrong key does not mend itself in seconds
_REPEATABLE = frozenset({408, 409, 425, 429})
_REFUSALS = frozenset({400, 413, 422})
_PROBE = "The quick brown fox jumps over the lazy dog."


class _RefusedError(Exception):
    """The server will not embed this batch, however often it is asked."""


class _AttemptError(Exception):
    """The attempt may be repeated."""

    def __init__(self, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


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
        sleep: Callable[[float], Any] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`dimension`: None takes the model's. `timeout` is of one attempt, `query_timeout` of a whole query.

        `sleep` (seconds) and `jitter` (0 to 1) are the pause between attempts, for tests to replace.
        """
        # Servers on one's own machine want no key, the library insists on one.
        self._client = AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url or OPENAI_URL,
            max_retries=0,
            timeout=timeout.total_seconds(),
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
        self._dialect: _Dialect | None = None
        self._preparing = asyncio.Lock()

    @property
    def dimension(self) -> int:
        assert self._dimension is not None, "call prepare() first"
        return self._dimension

    @property
    def space(self) -> str:
        """Names the model, not the address: a proxy or another port serves the same vectors."""
        return f"openai-{slug(self._model)}-{self.dimension}-{fingerprint(self._model)}"

    async def prepare(self) -> None:
        """Probe the server once. Raises `Unavailable`, with `details["reason"]`, while it is not well."""
        await self._prepared()

    async def _prepared(self) -> _Dialect:
        async with self._preparing:
            if self._dialect is not None:
                return self._dialect
            for dialect in self._dialects():
                try:
                    vectors = await self._repeat([_PROBE], dialect)
                except _RefusedError as refusal:
                    refused: Exception = refusal
                    continue
                self._dimension = vectors.shape[1]
                self._dialect = dialect
                return dialect
            raise Unavailable(
                f"The embedding provider refuses even a plain sentence for model {self._model!r}: "
                "check the model's name and dimension.",
                details={"reason": "misconfigured"},
                retry_after=_OPERATOR_RETRY_AFTER,
            ) from refused

    def count_tokens(self, text: str) -> int:
        return approximate.count_tokens(text)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return approximate.token_offsets(text)

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, a request after the other: documents in work at once are the concurrency."""
        dialect = await self._prepared()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start, end in self._batches(texts):
            vectors[start:end] = await self._embed(texts[start:end], dialect)
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        """The text's vector within `query_timeout`, or `Unavailable`: the search then takes keywords."""
        try:
            async with asyncio.timeout(self._query_timeout.total_seconds()):
                dialect = await self._prepared()
                row: Vectors = (await self._repeat([text], dialect, wait_max=_QUERY_WAIT_MAX))[0]
                return row
        except TimeoutError as error:
            raise Unavailable(
                "The embedding provider did not answer in time.", details={"reason": "timeout"}
            ) from error
        except _RefusedError as error:
            raise Unavailable("The embedding provider refuses this query.", details={"reason": "refused"}) from error

    async def aclose(self) -> None:
        """Close the connections."""
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

    async def _embed(self, texts: Sequence[str], dialect: _Dialect) -> Vectors:
        """Halves what is refused, down to the one text that is to blame; depth is log2 of the batch."""
        try:
            return await self._repeat(texts, dialect)
        except _RefusedError as refusal:
            if len(texts) == 1:
                await self._blame_text_or_provider(dialect, refusal)
        middle = len(texts) // 2
        first = await self._embed(texts[:middle], dialect)
        return np.concatenate([first, await self._embed(texts[middle:], dialect)])

    async def _blame_text_or_provider(self, dialect: _Dialect, refusal: _RefusedError) -> NoReturn:
        try:
            await self._repeat([_PROBE], dialect)
        except _RefusedError as error:
            self._dialect = None  # the server changed: probe anew before the next batch
            raise Unavailable(
                "The embedding provider now refuses every text: check its configuration.",
                details={"reason": "misconfigured"},
                retry_after=_OPERATOR_RETRY_AFTER,
            ) from error
        raise DocumentRejected(
            f"The embedding provider refuses a passage of this document: {refusal}", code="provider_rejected"
        ) from refusal

    async def _repeat(self, texts: Sequence[str], dialect: _Dialect, *, wait_max: timedelta = _WAIT_MAX) -> Vectors:
        """One batch, as often as it takes or is allowed. Raises `_RefusedError` or `Unavailable`."""
        for attempt in range(1, self._attempts_max + 1):
            try:
                return await self._attempt(texts, dialect)
            except _AttemptError as error:
                pause = _pause(attempt, error.retry_after, self._jitter())
                if attempt == self._attempts_max or pause > wait_max:
                    raise Unavailable(
                        f"The embedding provider does not answer well: {error.reason}.",
                        details={"reason": error.reason},
                        retry_after=pause,
                    ) from error
            await self._sleep(pause.total_seconds())
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, texts: Sequence[str], dialect: _Dialect) -> Vectors:
        started = time.perf_counter()
        outcome = "error"
        try:
            vectors, tokens = await self._request(texts, dialect)
            outcome = "ok"
            EMBEDDING_TOKENS.labels(self.provider).inc(tokens)
            return vectors
        except _RefusedError:
            outcome = "refused"
            raise
        except _AttemptError as error:
            outcome = error.reason
            raise
        except Unavailable:
            outcome = "misconfigured"
            raise
        finally:
            EMBEDDING_REQUESTS.labels(self.provider, outcome).inc()
            EMBEDDING_SECONDS.labels(self.provider).observe(time.perf_counter() - started)

    async def _request(self, texts: Sequence[str], dialect: _Dialect) -> tuple[Vectors, int]:
        try:
            # The library's timeout is per read; a server that drips bytes would never meet it.
            async with asyncio.timeout(self._timeout.total_seconds()):
                answer = await self._client.embeddings.create(
                    input=list(texts),
                    model=self._model,
                    dimensions=(self._dimension_asked or omit) if dialect.sends_dimension else omit,
                    encoding_format=dialect.encoding_format or omit,
                )
        except APIStatusError as error:
            raise _sorted_status(error) from error
        except (TimeoutError, APITimeoutError) as error:
            raise _AttemptError("timeout") from error
        except APIConnectionError as error:
            raise _AttemptError("no_connection") from error
        except (APIError, AttributeError, TypeError, ValueError) as error:
            # What the library throws when the body is no JSON, or JSON of another shape.
            raise _AttemptError("bad_answer") from error
        vectors = _checked(answer, count=len(texts), dimension=self._dimension)
        return vectors, self._billed_tokens(answer, texts)

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


def _sorted_status(error: APIStatusError) -> Exception:
    """The error to raise for an answer that is no success."""
    status = error.status_code
    if status in _REFUSALS:
        return _RefusedError(f"status {status}")
    if error.code == "insufficient_quota":  # OpenAI's 429 that no waiting mends
        return Unavailable(
            "The embedding provider's account has no credit left.",
            details={"reason": "quota", "provider_status": status},
            retry_after=_OPERATOR_RETRY_AFTER,
        )
    if status in _REPEATABLE or status >= 500:
        asked = parse_retry_after(error.response.headers.get("retry-after"), now=datetime.now(UTC))
        return _AttemptError("throttled" if status == 429 else "error", retry_after=asked)
    return Unavailable(
        f"The embedding provider answers {status}: check its address, key and model.",
        details={"reason": "misconfigured", "provider_status": status},
        retry_after=_OPERATOR_RETRY_AFTER,
    )


def _checked(answer: CreateEmbeddingResponse, *, count: int, dimension: int | None) -> Vectors:
    """The rows in the order of the texts, at unit length, or `_AttemptError`: nothing doubtful passes."""
    try:
        rows = {item.index: item.embedding for item in answer.data}
        whole = len(answer.data) == count and rows.keys() == set(range(count))
        # Double precision, so that what is beyond single precision is seen below rather than warned of.
        vectors = np.array([rows[position] for position in range(count)], dtype=np.float64) if whole else None
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise _AttemptError("bad_answer") from error
    if vectors is None or vectors.ndim != 2:
        raise _AttemptError("bad_answer")
    if dimension is not None and vectors.shape[1] != dimension:
        raise _AttemptError("wrong_dimension")
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    # NaN fails every comparison. Within the bounds, far from any real model's, squares fit single precision.
    if not ((largest > 1e-15) & (largest < 1e15)).all():
        raise _AttemptError("bad_answer")
    return normalised(vectors.astype(np.float32))
