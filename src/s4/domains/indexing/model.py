"""The ways of indexing that a process knows: the deployment's own, and others to which tenants are moved by name."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from s4.domains.indexing.generation import Generation
from s4.engine.embedding.base import Embedder
from s4.kernel.errors import InvalidRequest, Unavailable
from s4.kernel.ids import GenerationId


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder, and how texts are cut for it. `price_million_tokens`: what a provider asks for them."""

    name: str
    embedder: Embedder
    chunk_tokens_max: int
    chunk_overlap_tokens: int
    price_million_tokens: float

    @property
    def generation(self) -> Generation:
        """Raises `Unavailable` until the embedder's dimension is known, as that of a named model always is."""
        space, dimension = self.embedder.space, self.embedder.dimension
        return Generation(space, dimension, self.chunk_tokens_max, self.chunk_overlap_tokens)

    def cost(self, tokens: int) -> float:
        """In the currency of the settings."""
        return tokens / 1_000_000 * self.price_million_tokens


class Models:
    """`own` is that of tenants that were not moved."""

    def __init__(self, own: Model, named: Sequence[Model] = ()) -> None:
        self.own = own
        self._named = named

    @property
    def own_id(self) -> GenerationId | None:
        """None while nobody knows it."""
        with suppress(Unavailable):
            return self.own.generation.id
        return None

    def others(self) -> list[Model]:
        """Those that index in another way than the deployment's own, each way once."""
        found = {model.generation.id: model for model in reversed(self._named)}
        found.pop(self.own_id or GenerationId(""), None)
        return list(found.values())

    def serving(self, generation: GenerationId | None) -> Model:
        """What a tenant is served with that was moved to `generation`, or was not. Raises `Unavailable`."""
        if generation is None or generation == self.own_id:
            return self.own
        for model in self._named:
            if model.generation.id == generation:
                return model
        raise Unavailable(
            f"This tenant is served from {generation}, and no model of S4_INDEX_MODELS makes that: configure it again.",
        )

    def by_name(self, name: str) -> Model:
        """Raises `InvalidRequest`."""
        known = {model.name: model for model in self._all()}
        if name not in known:
            raise InvalidRequest(f"There is no model {name!r}: S4_INDEX_MODELS names {', '.join(sorted(known))}.")
        return known[name]

    def name_of(self, generation: GenerationId) -> str | None:
        """None for one that this process cannot index into."""
        with suppress(Unavailable):
            return self.serving(generation).name
        return None

    def embedders(self) -> list[Embedder]:
        """Each once: models that differ in how they cut share one."""
        return list({id(model.embedder): model.embedder for model in self._all()}.values())

    def _all(self) -> Iterable[Model]:
        return (self.own, *self._named)
