"""A generation: one way of turning text into rows. Another model, chunker or schema is another generation."""

from dataclasses import dataclass
from functools import lru_cache

from s4.engine.chunking import CHUNKER
from s4.kernel import keys
from s4.kernel.ids import GenerationId, Incarnation, TenantId, generation_id

FORMAT = 1
"""Of `generation.json`."""
SCHEMA = 1
"""Changes when the table's columns or analysers do."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What all processes of a deployment index with."""

    space: str
    dimension: int
    chunk_tokens_max: int
    chunk_overlap_tokens: int

    @property
    def id(self) -> GenerationId:
        return _id_of(self)

    def prefix(self, tenant_id: TenantId, incarnation: Incarnation) -> str:
        """Where this making of the tenant's table lives."""
        return keys.generation(tenant_id, self.id, incarnation)

    def describe(self) -> dict[str, str | int]:
        """For `generation.json`, so that a person can tell what a table was made with."""
        return {
            "format": FORMAT,
            "generation": self.id,
            "space": self.space,
            "dimension": self.dimension,
            "chunker": CHUNKER,
            "chunk_tokens_max": self.chunk_tokens_max,
            "chunk_overlap_tokens": self.chunk_overlap_tokens,
            "schema": SCHEMA,
        }


@lru_cache(maxsize=256)  # a search asks for it a handful of times, and it is a hash
def _id_of(generation: Generation) -> GenerationId:
    return generation_id(
        generation.space,
        generation.dimension,
        CHUNKER,
        generation.chunk_tokens_max,
        generation.chunk_overlap_tokens,
        SCHEMA,
    )
