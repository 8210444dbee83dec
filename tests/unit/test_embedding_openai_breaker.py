"""A provider that is down for long is left alone, one that changed is recognised, and no answer is too large."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from s4.engine.embedding.base import Vectors
from s4.engine.embedding.known import CANARY, KnownModel
from s4.kernel.errors import Unavailable
from s4.platform.telemetry.metrics import EMBEDDING_BREAKER_OPEN
from tests.unit.test_embedding_openai import (
    Answer,
    Behaviour,
    Provider,
    closed,
    expected,
    failure,
    hanging,
    prepared,
    refusing,
    rows,
    running,
    status,
    well,
    with_rows,
)

DOWN = status(503)


def asked_for(setup_requests: list[dict[str, Any]]) -> list[str]:
    return [text for request in setup_requests for text in request["input"]]


async def test_after_five_failures_in_a_row_only_a_harmless_sentence_is_asked() -> None:
    async with prepared(DOWN, retries_max=0) as setup:
        for number in range(5):
            error = await failure(setup, f"text {number}")
            assert isinstance(error, Unavailable)
            assert not error.untried
        assert EMBEDDING_BREAKER_OPEN.labels("openai")._value.get() == 1
        for _ in range(50):
            refused = await failure(setup, "another text")
            assert isinstance(refused, Unavailable)
            assert refused.untried
            assert refused.details == {"reason": "error"}
        with pytest.raises(Unavailable) as caught:
            await setup.embedder.embed_query("a query")
        assert caught.value.untried

        async with asyncio.timeout(60):
            while len(setup.provider.requests) < 8:  # noqa: ASYNC110 (the watch asks when it is time)
                await asyncio.sleep(0.005)
        assert asked_for(setup.provider.requests)[5:] == [CANARY] * (len(setup.provider.requests) - 5)

        setup.provider.otherwise = well
        await closed(setup)
        assert EMBEDDING_BREAKER_OPEN.labels("openai")._value.get() == 0
        assert np.allclose(await setup.embedder.embed_documents(["a"]), expected("a"))


async def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    async with prepared(well, retries_max=0) as setup:
        for _ in range(4):
            setup.provider.script = [DOWN, DOWN, DOWN, DOWN, well]
            for _ in range(4):
                await failure(setup)
            await setup.embedder.embed_documents(["a"])
        assert setup.embedder.trouble is None


async def test_the_watch_waits_as_long_as_the_provider_asks() -> None:
    async with prepared(well) as setup:
        asked_at: list[float] = []

        def timed(answer: Behaviour) -> Behaviour:
            def answered(request: dict[str, Any]) -> Answer | Awaitable[Answer]:
                asked_at.append(time.monotonic())
                return answer(request)

            return answered

        setup.provider.script = [timed(status(429, headers={"retry-after": "2"}))]
        setup.provider.otherwise = timed(well)
        with pytest.raises(Unavailable):
            await setup.embedder.embed_query("a query waits at most a second")
        assert isinstance(refused := await failure(setup), Unavailable)
        assert refused.untried
        assert timedelta() < refused.retry_after <= timedelta(seconds=2)

        await closed(setup)
        throttled_at, tried_at = asked_at
        assert tried_at - throttled_at >= 2
        assert asked_for(setup.provider.requests) == ["a query waits at most a second", CANARY]


async def test_a_revoked_key_opens_at_once_and_a_mended_one_closes() -> None:
    async with prepared(status(401)) as setup:
        error = await failure(setup)
        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "misconfigured", "provider_status": 401}
        assert setup.embedder.trouble == "misconfigured"
        setup.provider.otherwise = well
        await closed(setup)
        await setup.embedder.embed_documents(["a"])


async def test_who_prepares_while_it_is_open_is_refused_before_any_work() -> None:
    async with prepared(status(401)) as setup:
        await failure(setup)
        with pytest.raises(Unavailable) as caught:
            await setup.embedder.prepare()
        assert caught.value.untried


async def test_a_request_that_paused_is_not_repeated_once_the_breaker_is_open() -> None:
    pausing, woken = asyncio.Event(), asyncio.Event()

    async def pause(_: float) -> None:
        pausing.set()
        await woken.wait()

    async with prepared(well, sleep=pause, probe_pause_max=timedelta(minutes=1)) as setup:
        setup.provider.script = [DOWN, status(401)]
        first = asyncio.create_task(setup.embedder.embed_documents(["first"]))
        await pausing.wait()
        await failure(setup, "second")
        woken.set()
        with pytest.raises(Unavailable) as caught:
            await first
        assert caught.value.untried
        assert asked_for(setup.provider.requests) == ["first", "second"]


async def test_queries_that_hang_open_it_too_and_then_wait_no_more() -> None:
    quick = timedelta(seconds=0.02)
    async with prepared(hanging, query_timeout=quick, probe_pause_max=timedelta(minutes=1)) as setup:
        for _ in range(5):
            with pytest.raises(Unavailable):
                await setup.embedder.embed_query("text")
        assert setup.embedder.trouble == "timeout"
        with pytest.raises(Unavailable) as caught:
            await setup.embedder.embed_query("text")
        assert caught.value.untried


async def test_a_redirect_carries_no_text_away() -> None:
    async with running(Provider()) as elsewhere:
        place = f"{elsewhere.provider.base_url}/embeddings"
        for code in (301, 302, 303, 307, 308):
            async with prepared(status(code, headers={"location": place})) as setup:
                error = await failure(setup)
                assert isinstance(error, Unavailable)
                assert error.details == {"reason": "misconfigured", "provider_status": code}
        assert elsewhere.provider.requests == []


async def test_an_endless_answer_is_cut_off() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        try:
            while True:
                writer.write(b" " * 65536)
                await writer.drain()
                sent += 65536
        except ConnectionError:
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with running(Provider(), base_url=url, batch_items=1, timeout=timedelta(seconds=60)) as setup:
        error = await failure(setup)
        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "bad_answer"}
        async with asyncio.timeout(60):
            await ended.wait()
    server.close()
    assert sent < 16 * 1024 * 1024, "a model of 16,384 dimensions needs half a MiB a text; sockets hold some more"


async def test_an_answer_that_is_compressed_against_our_wish_is_not_unpacked() -> None:
    import gzip

    def packed(request: dict[str, Any]) -> Answer:
        code, headers, body = with_rows(rows(request))
        return code, {**headers, "content-encoding": "gzip"}, gzip.compress(body)

    async with prepared(packed, retries_max=0) as setup:
        assert isinstance(error := await failure(setup), Unavailable)
        assert error.details == {"reason": "bad_answer"}


async def test_a_server_that_numbers_nothing_serves_texts_one_by_one() -> None:
    def unnumbered(request: dict[str, Any]) -> Answer:
        return with_rows([{**row, "index": None} for row in rows(request)])

    async with running(Provider(otherwise=unnumbered), batch_items=1) as setup:
        assert np.allclose(await setup.embedder.embed_documents(["a", "bbb"]), expected("a", "bbb"))


async def test_a_bad_answer_is_bought_three_times_at_most() -> None:
    def zero(request: dict[str, Any]) -> Answer:
        return with_rows([{**row, "embedding": [0.0] * 4} for row in rows({**request, "encoding_format": "float"})])

    async with prepared(zero, retries_max=5) as setup:
        await failure(setup)
        assert len(setup.provider.requests) == 3


async def test_what_was_answered_before_an_error_is_told() -> None:
    heard: dict[str, Vectors] = {}

    def keep(texts: Any, vectors: Vectors) -> None:
        heard.update(zip(texts, vectors, strict=True))

    async with prepared(well, batch_items=2, retries_max=0) as setup:
        setup.provider.script = [well, well, DOWN]
        with pytest.raises(Unavailable):
            await setup.embedder.embed_documents(["a", "bb", "ccc", "dddd", "eeeee"], answered=keep)
        assert list(heard) == ["a", "bb", "ccc", "dddd"]
        assert np.allclose(np.stack(list(heard.values())), expected(*heard))


async def test_the_half_of_a_refused_batch_that_passed_is_told_too() -> None:
    heard: list[str] = []
    async with prepared(refusing(lambda request: len(request["input"]) > 2, 413), retries_max=0) as setup:
        await setup.embedder.embed_documents(["a", "bb", "ccc", "dddd"], answered=lambda part, _: heard.extend(part))
        assert heard == ["a", "bb", "ccc", "dddd"]


class Memory:
    """A `ModelMemory` of one process."""

    def __init__(self) -> None:
        self.kept: dict[str, KnownModel] = {}

    async def load(self, name: str) -> KnownModel | None:
        return self.kept.get(name)

    async def save(self, name: str, known: KnownModel) -> KnownModel:
        return self.kept.setdefault(name, known)


async def test_a_model_that_was_met_before_has_a_dimension_while_its_provider_is_down() -> None:
    memory = Memory()
    async with running(Provider(), memory=memory) as setup:
        await setup.embedder.prepare()
        space = setup.embedder.space
    async with running(Provider(otherwise=DOWN), memory=memory) as setup:
        with pytest.raises(Unavailable):
            await setup.embedder.prepare()
        assert setup.embedder.space == space
        setup.provider.otherwise = well
        await closed(setup)
        assert np.allclose(await setup.embedder.embed_documents(["a"]), expected("a"))


async def test_a_model_that_was_never_met_has_no_dimension_until_its_provider_answers() -> None:
    async with running(Provider(otherwise=DOWN), memory=Memory()) as setup:
        with pytest.raises(Unavailable):
            await setup.embedder.prepare()
        with pytest.raises(Unavailable, match="S4_EMBEDDING_DIMENSION"):
            _ = setup.embedder.space
        setup.provider.otherwise = well
        await closed(setup)
        assert setup.embedder.dimension == 4


def wider(request: dict[str, Any]) -> Answer:
    return with_rows(rows(request, dimension=6))


def turned(request: dict[str, Any]) -> Answer:
    found = rows({**request, "encoding_format": "float"})
    return with_rows([{**row, "embedding": row["embedding"][::-1]} for row in found])


@pytest.mark.parametrize("other", [wider, turned], ids=["another dimension", "other vectors"])
async def test_another_model_under_the_same_name_is_refused_for_as_long_as_it_answers(other: Any) -> None:
    memory = Memory()
    async with running(Provider(), memory=memory) as setup:
        await setup.embedder.prepare()
    async with running(Provider(otherwise=other), memory=memory) as setup:
        with pytest.raises(Unavailable, match="S4_EMBEDDING_MODEL"):
            await setup.embedder.prepare()
        assert setup.embedder.trouble == "embedding_model_changed"
        assert setup.embedder.dimension == 4, "what is indexed is searched by keywords"
        assert isinstance(await failure(setup), Unavailable)
        setup.provider.otherwise = well
        await closed(setup)
        assert setup.embedder.dimension == 4
        await setup.embedder.prepare()


@pytest.mark.parametrize("other", [wider, turned], ids=["another dimension", "other vectors"])
async def test_a_passing_mishap_is_not_what_a_new_model_is_remembered_by(other: Any) -> None:
    memory = Memory()
    async with running(Provider(script=[other]), memory=memory) as setup:
        with pytest.raises(Unavailable, match="bad_answer"):
            await setup.embedder.prepare()
        await closed(setup)
        assert setup.embedder.dimension == 4
    async with running(Provider(), memory=memory) as setup:
        await setup.embedder.prepare()


async def test_a_model_that_changes_while_its_provider_is_down_is_not_used() -> None:
    async with prepared(status(401), memory=Memory()) as setup:
        await failure(setup)
        setup.provider.otherwise = turned
        async with asyncio.timeout(60):
            while setup.embedder.trouble != "embedding_model_changed":  # noqa: ASYNC110 (the watch asks when it is time)
                await asyncio.sleep(0.005)
        assert isinstance(refused := await failure(setup), Unavailable)
        assert refused.untried
