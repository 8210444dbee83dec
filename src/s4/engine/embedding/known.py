"""What a model was when it was first met, so that S4 starts while its provider is down and notices another model.

A provider's vectors have a dimension that only an answer tells, and nothing but the name of the model promises that
tomorrow's vectors may be compared with today's. So the first answer is remembered: the dimension, and the vector of
one harmless sentence, the canary. Whoever answers to the same name later must give the same.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from s4.engine.embedding.base import Vectors
from s4.kernel.errors import Conflict

CANARY = "The quick brown fox jumps over the lazy dog."
# Other weights give a cosine far below. Above: rounding, other hardware, another precision of the same weights.
_COSINE_MIN = 0.95


@dataclass(frozen=True, slots=True)
class KnownModel:
    """`canary` is the unit vector of `CANARY`."""

    canary: Vectors

    @property
    def dimension(self) -> int:
        return int(self.canary.shape[0])

    def expect_dimension(self, model: str, dimension: int) -> None:
        """Raises `Conflict` when the model has another than the one that was configured."""
        if dimension != self.dimension:
            raise Conflict(
                f"The embedding model {model!r} answers with {self.dimension} dimensions, not with the {dimension} of "
                "S4_EMBEDDING_DIMENSION: mend or unset it.",
                code="embedding_dimension_mismatch",
            )

    def recognise(self, model: str, canary: Vectors) -> None:
        """Raises `Conflict` when this is another model under the same name."""
        if canary.shape != self.canary.shape:
            raise Conflict(
                f"The embedding model {model!r} now answers with {canary.shape[0]} dimensions, its vectors here have "
                f"{self.dimension}: it is another model. Go back to the old one, or begin a new index by another "
                "S4_EMBEDDING_MODEL or S4_EMBEDDING_DIMENSION.",
                code="embedding_model_changed",
            )
        if float(np.dot(canary, self.canary)) < _COSINE_MIN:
            raise Conflict(
                f"The embedding provider now answers with other vectors for the model {model!r}: another model under "
                "the same name, whose vectors must not be mixed with those of the old. Go back to the old one, or give "
                "the new one a name of its own in S4_EMBEDDING_MODEL.",
                code="embedding_model_changed",
            )


class ModelMemory(Protocol):
    """Where known models are kept, by a name that is safe in a path."""

    async def load(self, name: str) -> KnownModel | None:
        """None when the model was never met. Raises `Unavailable`."""

    async def save(self, name: str, known: KnownModel) -> KnownModel:
        """Answers with the one that is kept: another process may have been first. Raises `Unavailable`."""
