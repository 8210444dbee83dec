"""An embedder without a model, for tests and benchmarks: signed feature hashing of words.

Texts that share words are near, others nearly orthogonal; it finds words, not meaning. No files, no
threads, the same vector on every machine. Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", 2009.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np

from s4.engine.embedding import approximate
from s4.engine.embedding.base import Answered, Vectors, normalised, unheard
from s4.platform.telemetry.metrics import EMBEDDING_TEXTS

_WORD = re.compile(r"\w+")


class DeterministicEmbedder:
    """Hashed bags of words in `dimension` components."""

    provider = "deterministic"
    trouble = None
    tokens_max = 8192  # nothing is read by a model; large, so that any chunk budget can be tried

    def __init__(self, *, dimension: int = 384) -> None:
        self.dimension = dimension
        self.space = f"deterministic-words-{dimension}-1"

    async def prepare(self) -> None:
        """Nothing to load."""

    def count_tokens(self, text: str) -> int:
        return approximate.count_tokens(text)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return approximate.token_offsets(text)

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        vectors = self._embed(texts, use="documents")
        answered(texts, vectors)
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        row: Vectors = (await self.embed_queries([text]))[0]
        return row

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts, use="queries")

    async def aclose(self) -> None:
        """Nothing to give back."""

    def _embed(self, texts: Sequence[str], *, use: str) -> Vectors:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            self._add_words(row, text)
        EMBEDDING_TEXTS.labels(self.provider, use).inc(len(texts))
        return normalised(rows) if len(texts) else rows

    def _add_words(self, row: Vectors, text: str) -> None:
        words = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text.lower())]
        hashes = np.array(words, dtype=np.int64)
        signs = np.where(hashes & 1, 1.0, -1.0)
        row += np.bincount((hashes >> 1) % self.dimension, weights=signs, minlength=self.dimension)
        if not row.any():  # no words, or words that cancel out: still a unit vector
            row[0] = 1.0
