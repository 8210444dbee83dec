"""What an embedder is, for everything above it.

An embedder turns texts into points such that near points mean similar texts. Points of different embedders
must never be compared, so each names its vector space (`space`), and whatever is stored under that name was
made by it. Vectors are unit length: a dot product is a cosine.

Errors: `Unavailable` when the provider does not answer well now, `DocumentRejected("provider_rejected")`
when it refuses one text for good, `DataCorrupt` when the model's files are not the pinned ones.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (n, dimension) for documents, (dimension,) for a query; unit length."""

Answered = Callable[[Sequence[str], Vectors], None]
"""Is told texts and their vectors."""


def unheard(_: Sequence[str], __: Vectors) -> None:
    """For callers who want all or nothing."""


class Embedder(Protocol):
    """One vector space and how to reach it."""

    @property
    def space(self) -> str:
        """`provider-model-dimension-revision`, of `[a-z0-9.-]`: safe in a path. As `dimension`."""

    @property
    def dimension(self) -> int:
        """Components of a vector. Known after `prepare` or from an earlier process, `Unavailable` until then."""

    @property
    def trouble(self) -> str | None:
        """Why it is not asked at the moment; None while all is well."""

    @property
    def tokens_max(self) -> int:
        """Longest input, special tokens included; what is beyond is not read by the model."""

    @property
    def provider(self) -> str:
        """A label for metrics."""

    async def prepare(self) -> None:
        """Load or probe, so that `space` and `dimension` are known. Idempotent; `embed_*` call it.

        Raises `Unavailable` while the provider is down, or has another model under the same name.
        """

    def count_tokens(self, text: str) -> int:
        """`len(token_offsets(text))`: without special tokens; estimated where the model's are unknown."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Code point ranges of the tokens, ascending, without special tokens."""

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        """One vector per text, in order. `answered` hears of every part as soon as it is done: where that takes several
        requests, an error of a later one then loses nothing that was paid for."""

    async def embed_query(self, text: str) -> Vectors:
        """The vector of a search's text: `embed_queries` of one."""

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, in order: all of them together, or none. Does not wait behind documents."""

    async def aclose(self) -> None:
        """Give back threads and connections."""


def slug(name: str) -> str:
    """`"BAAI/bge-M3"` is `"baai-bge-m3"`: of `[a-z0-9.-]` only, never empty, never starting with a dot."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unnamed"


def fingerprint(text: str) -> str:
    """Eight hex digits that tell apart names whose slugs are equal."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def normalised(rows: Vectors) -> Vectors:
    """Each row at unit length. The caller guarantees non-zero rows."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / norms, dtype=np.float32)
