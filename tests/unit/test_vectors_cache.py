"""What was paid for is kept: when a sibling fails, when the store fails, when two want the same at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
import pytest

from s4.domains.indexing.vectors_cache import Tokens, VectorsCache
from s4.engine.embedding.base import Answered, Vectors, unheard
from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.engine.embedding.groups import GROUP_MAX, groups
from s4.kernel.errors import DocumentRejected, Unavailable
from s4.kernel.ids import TenantId
from s4.kernel.settings import Settings
from s4.platform.objects import ObjectStore, open_store

ACME = TenantId("ten_" + "a" * 26)
OTHER = TenantId("ten_" + "b" * 26)
TEXTS = [f"passage number {number}" for number in range(200)]


class Provider(DeterministicEmbedder):
    """Hashed words, a few texts a request; `before` each request may wait or raise."""

    def __init__(self, request_texts: int = GROUP_MAX) -> None:
        super().__init__(dimension=16)
        self.paid: list[str] = []
        self.request_texts = request_texts
        self.before: Callable[[Sequence[str]], object] = lambda _: None

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        found = []
        for start in range(0, len(texts), self.request_texts):
            part = texts[start : start + self.request_texts]
            if asyncio.iscoroutine(waiting := self.before(part)):
                await waiting
            await asyncio.sleep(0)  # as a request does: others get their turn
            self.paid += part
            found.append(await super().embed_documents(part, answered=answered))
        return np.concatenate(found)


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


def group_of(text: str) -> list[str]:
    """The texts that are stored together with this one."""
    at = TEXTS.index(text)
    return next(TEXTS[group.start : group.end] for group in groups(TEXTS) if group.start <= at < group.end)


async def honest(texts: Sequence[str]) -> Vectors:
    return await DeterministicEmbedder(dimension=16).embed_documents(texts)


async def test_what_is_in_flight_when_a_sibling_fails_is_waited_for_and_stored(store: ObjectStore) -> None:
    provider = Provider()
    failed = asyncio.Event()
    begun: list[str] = []

    async def before(part: Sequence[str]) -> None:
        begun.extend(part)
        if TEXTS[0] in part:
            failed.set()
            raise Unavailable("down")
        await failed.wait()
        for _ in range(50):  # turns of the loop: a sibling that is cancelled would be so by now
            await asyncio.sleep(0)

    provider.before = before
    with pytest.raises(Unavailable):
        await VectorsCache(store, provider).embed(ACME, TEXTS)
    paid = list(provider.paid)
    assert sorted(paid) == sorted(set(begun) - set(group_of(TEXTS[0]))), "all that was begun was answered"
    assert len(begun) < len(TEXTS), "nothing more was begun"

    again = Provider()
    vectors = await VectorsCache(store, again).embed(ACME, TEXTS)  # another process
    assert np.allclose(vectors, await honest(TEXTS))
    assert sorted(again.paid) == sorted(set(TEXTS) - set(paid))


async def test_requests_of_a_group_that_were_answered_before_one_failed_are_not_paid_again(store: ObjectStore) -> None:
    texts = group_of(TEXTS[0])
    provider = Provider(request_texts=3)
    cache = VectorsCache(store, provider)

    def down(part: Sequence[str]) -> None:
        if texts[-1] in part:
            raise Unavailable("down")

    provider.before = down
    with pytest.raises(Unavailable):
        await cache.embed(ACME, texts)
    assert 0 < len(provider.paid) < len(texts)
    provider.before = lambda _: None
    assert np.allclose(await cache.embed(ACME, texts), await honest(texts))
    assert provider.paid == texts


async def test_a_tenant_gets_nothing_that_another_paid_for(store: ObjectStore) -> None:
    provider = Provider()
    cache = VectorsCache(store, provider)
    await asyncio.gather(cache.embed(ACME, TEXTS[:20]), cache.embed(OTHER, TEXTS[:20]))
    assert sorted(provider.paid) == sorted(TEXTS[:20] * 2)


async def test_the_same_text_in_two_documents_at_once_is_paid_once(store: ObjectStore) -> None:
    provider = Provider()
    cache = VectorsCache(store, provider)
    first, second = await asyncio.gather(cache.embed(ACME, TEXTS), cache.embed(ACME, TEXTS))
    assert np.array_equal(first, second)
    assert sorted(provider.paid) == sorted(TEXTS)


async def test_equal_chunks_of_a_group_are_paid_once(store: ObjectStore) -> None:
    provider = Provider()
    texts = ["the same line"] * 1000
    vectors = await VectorsCache(store, provider).embed(ACME, texts)
    assert np.allclose(vectors, await honest(texts))
    assert len(provider.paid) <= 2, "once per kind of group: full ones, and the last"


# -- small documents


class Requests(Provider):
    """Notes what each call asked for, and answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.begun = asyncio.Semaphore(0)
        self.let = asyncio.Event()
        self.refused: set[str] = set()

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        self.calls.append(list(texts))
        self.begun.release()
        await self.let.wait()
        good = [text for text in texts if text not in self.refused]
        vectors = await super().embed_documents(good, answered=answered) if good else np.empty((0, 16), np.float32)
        if len(good) < len(texts):
            raise DocumentRejected("refused")
        return vectors


async def waiting(cache: VectorsCache, tenant_id: TenantId, count: int) -> None:
    """Until so many of the tenant wait for a call to the embedder: threads of the store do their part first."""
    async with asyncio.timeout(60):
        while len(cache._together._waiting.get(tenant_id, ())) < count:  # noqa: ASYNC110 (nobody else asks that)
            await asyncio.sleep(0.001)


async def test_small_documents_of_a_tenant_that_are_ready_at_once_are_embedded_together(store: ObjectStore) -> None:
    provider = Requests()
    cache = VectorsCache(store, provider)
    asked = [asyncio.create_task(cache.embed(ACME, [text])) for text in TEXTS[:20]]
    foreign = asyncio.create_task(cache.embed(OTHER, [TEXTS[0]]))
    for _ in range(3):
        await provider.begun.acquire()
    await waiting(cache, ACME, 18)
    assert sorted(map(len, provider.calls)) == [1, 1, 1], "two of the tenant are under way, another's is not mixed in"
    provider.let.set()
    for text, rows in zip(TEXTS[:20], await asyncio.gather(*asked), strict=True):
        assert np.allclose(rows, await honest([text])), "each has its own"
    await foreign
    assert sorted(provider.paid) == sorted([*TEXTS[:20], TEXTS[0]])
    assert len(provider.calls) <= 5, "eighteen that gathered are one call or two"


async def test_a_refused_text_fails_its_document_alone_and_nothing_is_paid_twice(store: ObjectStore) -> None:
    provider = Requests()
    provider.refused = {TEXTS[7]}
    cache = VectorsCache(store, provider)
    asked = [asyncio.create_task(cache.embed(ACME, [text])) for text in TEXTS[:12]]
    await waiting(cache, ACME, 10)
    provider.let.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [text for text, each in zip(TEXTS, found, strict=False) if isinstance(each, BaseException)] == [TEXTS[7]]
    assert sorted(provider.paid) == sorted(set(TEXTS[:12]) - {TEXTS[7]})


async def test_a_provider_that_is_down_fails_all_that_went_together(store: ObjectStore) -> None:
    provider = Provider()

    def down(_: Sequence[str]) -> None:
        raise Unavailable("down")

    provider.before = down
    cache = VectorsCache(store, provider)
    found = await asyncio.gather(*(cache.embed(ACME, [text]) for text in TEXTS[:9]), return_exceptions=True)
    assert {type(each) for each in found} == {Unavailable}
    provider.before = lambda _: None
    assert np.allclose(await cache.embed(ACME, TEXTS[:1]), await honest(TEXTS[:1])), "the next is asked for"


async def test_what_nobody_waits_for_any_more_is_given_up_and_holds_nobody_up(store: ObjectStore) -> None:
    provider = Requests()
    cache = VectorsCache(store, provider)
    stopped = [asyncio.create_task(cache.embed(ACME, [text])) for text in TEXTS[:2]]
    for _ in stopped:
        await provider.begun.acquire()
    for task in stopped:
        task.cancel()
    await asyncio.gather(*stopped, return_exceptions=True)
    waiting = asyncio.create_task(cache.embed(ACME, [TEXTS[2]]))
    await provider.begun.acquire()
    provider.let.set()
    assert np.allclose(await waiting, await honest([TEXTS[2]]))
    assert provider.paid == [TEXTS[2]]


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([Unavailable("open", untried=True), Unavailable("down")], "down"),
        ([Unavailable("down"), DocumentRejected("refused")], "refused"),
    ],
)
async def test_of_several_errors_the_most_definite_goes_up(
    store: ObjectStore, errors: list[Exception], kind: str
) -> None:
    provider = Provider()
    both = asyncio.Barrier(2)
    waiting = list(errors)

    async def before(_: Sequence[str]) -> None:
        error = waiting.pop(0)
        await both.wait()
        raise error

    provider.before = before
    two_groups = TEXTS[: groups(TEXTS)[1].end]
    with pytest.raises((Unavailable, DocumentRejected), match=kind):
        await VectorsCache(store, provider).embed(ACME, two_groups)


async def test_the_tokens_of_groups_that_are_embedded_side_by_side_are_all_counted(store: ObjectStore) -> None:
    provider = Provider()
    cache, first, second = VectorsCache(store, provider), Tokens(), Tokens()
    expected = sum(map(provider.count_tokens, TEXTS))
    assert await cache.unpaid_tokens(ACME, TEXTS) == expected
    await cache.embed(ACME, TEXTS, first)
    assert (first.paid, first.cached) == (expected, 0)
    assert await cache.unpaid_tokens(ACME, TEXTS) == 0
    assert await cache.unpaid_tokens(OTHER, TEXTS) == expected
    await cache.embed(ACME, TEXTS, second)
    assert (second.paid, second.cached) == (0, expected)
