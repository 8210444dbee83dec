"""What came back from the provider, judged: vectors that may be kept, or the reason why not.

Nothing doubtful passes: as many rows as texts, ordered by `index`, of one dimension, finite, not zero. A body is read
up to a bound only, and a redirect is no answer: it would carry the documents' text to a place that nobody configured.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
from openai import APIStatusError
from openai.types import CreateEmbeddingResponse

from s4.engine.embedding.base import Vectors, normalised
from s4.engine.embedding.breaker import NotWell
from s4.engine.embedding.retry_after import parse_retry_after

_REPEATABLE = frozenset({408, 409, 425, 429})
_REFUSALS = frozenset({400, 413, 422})
_ANSWER_BYTES_MIN = 1024 * 1024  # for the envelope, and for an error's page
_NUMBER_BYTES = 32  # of one component as indented JSON: sign, 17 digits, exponent, comma, white space
_DIMENSION_MAX = 16_384  # of a model that is not known yet: several times the largest in use


class RefusedError(Exception):
    """The server will not embed this batch, however often it is asked."""


class AnswerTooLargeError(Exception):
    """The body is longer than the vectors that were asked for can be."""


class WordlessError(Exception):
    """What a library raised, by its name alone."""


def wordless(error: BaseException) -> WordlessError:
    """Stands in for `error` as a cause. Its own words may be the provider's, who likes to repeat the text that he does
    not take, and tracebacks are logged."""
    names = [type(one).__name__ for one in (error, error.__cause__) if one is not None]
    if isinstance(error, APIStatusError):
        names.append(f"status {error.status_code}")
    return WordlessError(", ".join(names)).with_traceback(error.__traceback__)


class AnswerBound:
    """Cuts bodies off at `bytes_max` while they come, so that no answer fills the memory."""

    def __init__(self, *, items: int) -> None:
        self._items = items
        self.bytes_max = 0
        self.expect(_DIMENSION_MAX)

    def expect(self, dimension: int) -> None:
        self.bytes_max = _ANSWER_BYTES_MIN + self._items * dimension * _NUMBER_BYTES

    def client(self, timeout: timedelta) -> httpx.AsyncClient:
        """An HTTP client whose every answer is bounded."""
        return httpx.AsyncClient(
            timeout=timeout.total_seconds(),
            follow_redirects=False,
            # A compressed body can grow a thousandfold while it is unpacked.
            headers={"Accept-Encoding": "identity"},
            event_hooks={"response": [self._bound]},
        )

    async def _bound(self, response: httpx.Response) -> None:
        response.headers.pop("content-encoding", None)  # sent all the same: then it stays packed, and is no JSON
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, self.bytes_max)


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._bytes_max
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise AnswerTooLargeError
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def sorted_status(error: APIStatusError) -> Exception:
    """The error to raise for an answer that is no success."""
    status = error.status_code
    if status in _REFUSALS:
        return RefusedError(f"status {status}")
    details = {"provider_status": status}
    if error.code == "insufficient_quota":  # OpenAI's 429 that no waiting mends
        message = "The embedding provider's account has no credit left."
        return NotWell("quota", definite=True, message=message, details=details)
    asked = parse_retry_after(error.response.headers.get("retry-after"), now=datetime.now(UTC))
    if status in _REPEATABLE or status >= 500:
        return NotWell("throttled" if status == 429 else "error", retry_after=asked)
    message = f"The embedding provider answers {status}: check its address, key and model."
    return NotWell("misconfigured", retry_after=asked, definite=True, message=message, details=details)


def checked(answer: CreateEmbeddingResponse, *, count: int, dimension: int | None) -> Vectors:
    """The rows in the order of the texts, at unit length, or `NotWell`."""
    try:
        data = answer.data
        # The only row belongs to the only text, whatever number it bears: some servers do not count.
        rows = {0: data[0].embedding} if count == len(data) == 1 else {item.index: item.embedding for item in data}
        whole = len(data) == count and rows.keys() == set(range(count))
        # Double precision, so that what is beyond single precision is seen below rather than warned of.
        vectors = np.array([rows[position] for position in range(count)], dtype=np.float64) if whole else None
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise NotWell("bad_answer", paid=True) from wordless(error)
    if vectors is None or vectors.ndim != 2:
        raise NotWell("bad_answer", paid=True)
    if dimension is not None and vectors.shape[1] != dimension:
        raise NotWell("wrong_dimension", paid=True)
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    # NaN fails every comparison. Within the bounds, far from any real model's, squares fit single precision.
    if not ((largest > 1e-15) & (largest < 1e15)).all():
        raise NotWell("bad_answer", paid=True)
    return normalised(vectors.astype(np.float32))
