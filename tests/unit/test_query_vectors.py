"""Vectors of queries are remembered by tenant, model and text, within bounds."""

from collections.abc import Sequence

from s4.domains.search.query_vectors import QueryVectors
from s4.engine.embedding.base import Vectors
from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId

ACME, OTHER, THIRD = (TenantId("ten_" + letter * 26) for letter in "abc")
ENTRY_BYTES = 16 * 4 + 512


class Provider(DeterministicEmbedder):
    """Notes what it is asked, request by request."""

    def __init__(self, dimension: int = 16) -> None:
        super().__init__(dimension=dimension)
        self.requests: list[list[str]] = []

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.requests.append(list(texts))
        return await super().embed_queries(texts)


class Unmet(Provider):
    """Its space is known once it has answered."""

    @property
    def space(self) -> str:
        if not self.requests:
            raise Unavailable("It never answered.")
        return "met"

    @space.setter
    def space(self, _: str) -> None: ...


async def test_the_same_query_again_costs_its_tenant_nothing_and_another_tenant_a_request() -> None:
    vectors, provider = QueryVectors(), Provider()
    (first,) = await vectors.of(ACME, provider, ["tides"])
    (again,) = await vectors.of(ACME, provider, ["tides"])
    assert (first == again).all()
    assert provider.requests == [["tides"]]
    await vectors.of(OTHER, provider, ["tides"])
    assert provider.requests == [["tides"], ["tides"]], "an answer that came at once would tell who asked before"


async def test_another_text_or_another_model_is_not_answered_from_memory() -> None:
    vectors, old, new = QueryVectors(), Provider(), Provider(dimension=24)
    await vectors.of(ACME, old, ["tides"])
    await vectors.of(ACME, old, ["Tides"])
    assert old.requests == [["tides"], ["Tides"]]
    (vector,) = await vectors.of(ACME, new, ["tides"])
    assert vector.shape == (24,)
    assert (await vectors.of(ACME, old, ["tides"]))[0].shape == (16,), "the old one is there while it serves"
    assert len(old.requests) == 2


async def test_several_are_asked_for_in_one_request_without_what_is_known_or_twice() -> None:
    vectors, provider = QueryVectors(), Provider()
    await vectors.of(ACME, provider, ["moon"])
    texts = ["tides", "moon", "tides", "harbour"]
    found = await vectors.of(ACME, provider, texts)
    assert provider.requests == [["moon"], ["tides", "harbour"]]
    honest = await DeterministicEmbedder(dimension=16).embed_queries(texts)
    assert all((row == true).all() for row, true in zip(found, honest, strict=True))


async def test_a_model_that_was_never_met_is_asked() -> None:
    vectors, provider = QueryVectors(), Unmet()
    await vectors.of(ACME, Provider(), ["sun"])
    await vectors.of(ACME, provider, ["tides"])
    await vectors.of(ACME, provider, ["tides"])
    assert provider.requests == [["tides"]]


async def test_a_tenant_puts_out_its_own_oldest_and_nobody_elses() -> None:
    vectors, provider = QueryVectors(tenant_bytes_max=2 * ENTRY_BYTES), Provider()
    await vectors.of(OTHER, provider, ["tides"])
    for text in ("a", "b", "a", "c"):
        await vectors.of(ACME, provider, [text])
    provider.requests.clear()
    await vectors.of(OTHER, provider, ["tides"])
    await vectors.of(ACME, provider, ["a"])
    assert provider.requests == []
    await vectors.of(ACME, provider, ["b"])
    assert provider.requests == [["b"]]


async def test_beyond_the_whole_memory_who_asked_longest_ago_loses() -> None:
    vectors, provider = QueryVectors(bytes_max=2 * ENTRY_BYTES), Provider()
    for tenant_id in (ACME, OTHER, ACME, THIRD):
        await vectors.of(tenant_id, provider, ["tides"])
    provider.requests.clear()
    await vectors.of(ACME, provider, ["tides"])
    await vectors.of(THIRD, provider, ["tides"])
    assert provider.requests == []
    await vectors.of(OTHER, provider, ["tides"])
    assert provider.requests == [["tides"]]


async def test_what_is_larger_than_all_is_not_kept() -> None:
    vectors, provider = QueryVectors(bytes_max=ENTRY_BYTES // 2), Provider()
    for _ in range(2):
        await vectors.of(ACME, provider, ["tides", "moon"])
    assert len(provider.requests) == 2
