"""A provider that misbehaves in every known way: no doubtful vector gets through, errors say what to do."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from s4.engine.embedding.base import Vectors, normalised
from s4.engine.embedding.known import CANARY
from s4.engine.embedding.openai_compatible import OpenAICompatibleEmbedder
from s4.kernel.errors import DocumentRejected, S4Error, Unavailable
from s4.platform.telemetry.metrics import EMBEDDING_REQUESTS, EMBEDDING_TOKENS

Answer = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, Any]], Answer | Awaitable[Answer]]


def vector(text: str, dimension: int = 4) -> list[float]:
    """A vector that tells texts apart: its direction is the text's length."""
    return [float(len(text)), 1.0, *[0.5] * (dimension - 2)]


def rows(request: dict[str, Any], *, dimension: int = 4) -> list[dict[str, Any]]:
    found = []
    for index, text in enumerate(request["input"]):
        embedding: Any = vector(text, request.get("dimensions", dimension))
        if request.get("encoding_format") == "base64":
            embedding = base64.b64encode(np.array(embedding, dtype="<f4").tobytes()).decode()
        found.append({"object": "embedding", "index": index, "embedding": embedding})
    return found


def as_json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return status, {"content-type": "application/json", **(headers or {})}, json.dumps(body).encode()


def with_rows(data: list[dict[str, Any]]) -> Answer:
    return as_json({"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 11}})


def well(request: dict[str, Any]) -> Answer:
    return with_rows(rows(request))


def status(code: int, *, headers: dict[str, str] | None = None, error: str | None = None) -> Behaviour:
    return lambda _: as_json({"error": {"message": "no", "code": error}}, status=code, headers=headers)


def refusing(refused: Callable[[dict[str, Any]], bool], code: int = 400) -> Behaviour:
    return lambda request: status(code)(request) if refused(request) else well(request)


async def hanging(_: dict[str, Any]) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError("never set")


@dataclass
class Provider:
    """A real HTTP server that answers with the scripted behaviours, then with `otherwise`."""

    otherwise: Behaviour = well
    script: list[Behaviour] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    base_url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
                request = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.requests.append(request)
                self.authorizations.append(headers["authorization"])
                answer = (self.script.pop(0) if self.script else self.otherwise)(request)
                code, fields, body = answer if isinstance(answer, tuple) else await answer
                fields = {**fields, "content-length": str(len(body))}
                lines = [f"HTTP/1.1 {code} Status", *(f"{name}: {value}" for name, value in fields.items())]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@dataclass
class Setup:
    provider: Provider
    embedder: OpenAICompatibleEmbedder
    pauses: list[float]


@asynccontextmanager
async def running(provider: Provider, **arguments: Any) -> AsyncIterator[Setup]:
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.get_running_loop().create_task(provider.serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    provider.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    defaults: dict[str, Any] = {"model": "m", "api_key": "secret", "base_url": provider.base_url}
    defaults["probe_pause_max"] = timedelta(seconds=0.02)
    embedder = OpenAICompatibleEmbedder(**{**defaults, "sleep": sleep, "jitter": lambda: 1.0, **arguments})
    try:
        yield Setup(provider, embedder, pauses)
    finally:
        await embedder.aclose()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def prepared(otherwise: Behaviour, **arguments: Any) -> AsyncIterator[Setup]:
    """A provider that answered well once and from then on does not. Requests count from then on."""
    async with running(Provider(), **arguments) as setup:
        await setup.embedder.prepare()
        setup.provider.requests.clear()
        setup.provider.otherwise = otherwise
        yield setup


def expected(*texts: str) -> Vectors:
    raw: Vectors = np.array([vector(text) for text in texts], dtype=np.float32)
    return normalised(raw)


async def failure(setup: Setup, *texts: str) -> S4Error:
    with pytest.raises(S4Error) as caught:
        await setup.embedder.embed_documents(texts or ["text"])
    return caught.value


async def closed(setup: Setup) -> None:
    """Returns when the breaker has closed."""
    async with asyncio.timeout(60):
        while setup.embedder.trouble is not None:  # noqa: ASYNC110 (as callers see it, who ask again)
            await asyncio.sleep(0.005)


async def test_the_dimension_is_learned_and_vectors_come_in_order() -> None:
    async with running(Provider()) as setup:
        vectors = await setup.embedder.embed_documents(["a", "bbb", "cc"])

        assert np.allclose(vectors, expected("a", "bbb", "cc"))
        assert vectors.dtype == np.float32
        assert setup.embedder.dimension == 4
        assert setup.embedder.space.startswith("openai-m-4-")
        assert "dimensions" not in setup.provider.requests[-1]
        assert setup.provider.authorizations[-1] == "bearer secret"


async def test_a_configured_dimension_is_asked_for() -> None:
    async with running(Provider(), dimension=6) as setup:
        assert setup.embedder.space.startswith("openai-m-6-")
        assert (await setup.embedder.embed_query("text")).shape == (6,)
        assert setup.provider.requests[-1]["dimensions"] == 6


async def test_the_server_is_probed_once_with_a_sentence_that_a_new_model_is_asked_twice() -> None:
    async with running(Provider()) as setup:
        await asyncio.gather(*(setup.embedder.prepare() for _ in range(5)))
        await setup.embedder.embed_query("text")

        assert [request["input"] for request in setup.provider.requests] == [[CANARY], [CANARY], ["text"]]


async def test_batches_are_bounded_by_items_and_by_tokens() -> None:
    async with running(Provider(), batch_items=3, batch_tokens=10) as setup:
        texts = [*["one"] * 7, "five small words are here", "six small words are now here", "x" * 800]

        vectors = await setup.embedder.embed_documents(texts)

        sizes = [len(request["input"]) for request in setup.provider.requests[2:]]
        assert sizes == [3, 3, 2, 1, 1]
        assert np.allclose(vectors, expected(*texts))


async def test_no_texts_make_no_vectors() -> None:
    async with running(Provider(), dimension=4) as setup:
        assert (await setup.embedder.embed_documents([])).shape == (0, 4)


async def test_rows_are_put_in_the_order_of_their_index() -> None:
    def shuffled(request: dict[str, Any]) -> Answer:
        return with_rows(rows(request)[::-1])

    async with running(Provider(otherwise=shuffled)) as setup:
        vectors = await setup.embedder.embed_documents(["a", "bbb", "cc"])

        assert np.allclose(vectors, expected("a", "bbb", "cc"))


async def test_a_server_that_answers_in_floats_whatever_is_asked() -> None:
    def floats(request: dict[str, Any]) -> Answer:
        return with_rows(rows({**request, "encoding_format": "float"}))

    async with running(Provider(otherwise=floats)) as setup:
        assert np.allclose(await setup.embedder.embed_documents(["a", "bb"]), expected("a", "bb"))


async def test_a_server_that_refuses_base64_is_asked_for_floats() -> None:
    provider = Provider(otherwise=refusing(lambda request: request["encoding_format"] == "base64"))
    async with running(provider) as setup:
        assert np.allclose(await setup.embedder.embed_documents(["a", "bb"]), expected("a", "bb"))
        assert [request["encoding_format"] for request in provider.requests] == ["base64", "float", "float", "float"]


async def test_a_server_that_refuses_the_parameter_dimensions_is_taken_as_it_is() -> None:
    provider = Provider(otherwise=refusing(lambda request: "dimensions" in request, 422))
    async with running(provider, dimension=4) as setup:
        assert np.allclose(await setup.embedder.embed_documents(["a"]), expected("a"))


async def test_a_pause_asked_for_in_seconds_is_kept() -> None:
    async with running(Provider()) as setup:
        await setup.embedder.prepare()
        setup.provider.script = [status(429, headers={"retry-after": "7"})]

        assert np.allclose(await setup.embedder.embed_documents(["a"]), expected("a"))
        assert setup.pauses == [pytest.approx(7 * 1.2)], "and a fifth, at most, by which workers spread"


async def test_a_pause_asked_for_as_a_date_is_kept() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    async with prepared(well) as setup:
        setup.provider.script = [status(503, headers={"retry-after": date})]
        await setup.embedder.embed_documents(["a"])

        (pause,) = setup.pauses
        assert 10 < pause <= 20 * 1.2


async def test_a_long_pause_is_left_to_the_caller() -> None:
    async with prepared(status(429, headers={"retry-after": "600"})) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert error.retry_after == timedelta(seconds=600)
        assert error.details == {"reason": "throttled"}
        assert len(setup.provider.requests) == 1
        assert setup.pauses == []


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_repeated_with_growing_pauses_and_bounded(code: int) -> None:
    async with prepared(status(code), retries_max=3) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert setup.pauses == [0.5, 1.0, 2.0]
        assert len(setup.provider.requests) == 4


@pytest.mark.parametrize("code", [401, 402, 403, 404, 405])
async def test_what_only_the_operator_can_mend_is_not_repeated(code: int) -> None:
    async with running(Provider(otherwise=status(code))) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "misconfigured", "provider_status": code}
        assert str(code) in error.message
        assert "secret" not in error.message
        assert len(setup.provider.requests) == 1


async def test_an_account_without_credit_is_not_asked_again() -> None:
    async with running(Provider(otherwise=status(429, error="insufficient_quota"))) as setup:
        error = await failure(setup)

        assert error.details["reason"] == "quota"
        assert len(setup.provider.requests) == 1


async def test_a_server_that_hangs_is_given_up() -> None:
    async with prepared(hanging, timeout=timedelta(seconds=0.5), retries_max=1) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "timeout"}
        assert len(setup.provider.requests) == 2


async def test_a_query_is_given_up_sooner_than_documents() -> None:
    async with running(Provider(), query_timeout=timedelta(seconds=0.1)) as setup:
        await setup.embedder.prepare()
        setup.provider.otherwise = hanging

        with pytest.raises(Unavailable):
            await setup.embedder.embed_query("text")


async def test_a_query_does_not_wait_for_a_throttled_provider() -> None:
    async with running(Provider()) as setup:
        await setup.embedder.prepare()
        setup.provider.otherwise = status(429, headers={"retry-after": "5"})

        with pytest.raises(Unavailable):
            await setup.embedder.embed_query("text")
        assert setup.pauses == []


async def test_a_refused_query_is_no_fault_of_a_document() -> None:
    async with running(Provider()) as setup:
        await setup.embedder.prepare()
        setup.provider.otherwise = status(400)

        with pytest.raises(Unavailable):
            await setup.embedder.embed_query("text")


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with running(Provider(), base_url="http://127.0.0.1:9/v1") as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "no_connection"}


@pytest.mark.parametrize("code", [400, 413])
async def test_a_batch_that_is_too_large_is_halved_until_it_passes(code: int) -> None:
    provider = Provider(otherwise=refusing(lambda request: len(request["input"]) > 2, code))
    async with running(provider) as setup:
        texts = ["a" * length for length in range(1, 8)]

        assert np.allclose(await setup.embedder.embed_documents(texts), expected(*texts))
        assert setup.pauses == []


async def test_a_text_that_is_refused_alone_rejects_its_document() -> None:
    provider = Provider(otherwise=refusing(lambda request: "bad" in request["input"]))
    async with running(provider) as setup:
        error = await failure(setup, "good", "fine", "bad", "well")

        assert isinstance(error, DocumentRejected)
        assert error.code == "provider_rejected"


async def test_a_server_that_suddenly_refuses_everything_rejects_no_document() -> None:
    async with running(Provider()) as setup:
        await setup.embedder.prepare()
        setup.provider.otherwise = status(400)

        error = await failure(setup, "good")
        assert isinstance(error, Unavailable)
        assert error.details["reason"] == "misconfigured"

        # It came back and takes other parameters: it is probed anew.
        setup.provider.otherwise = refusing(lambda request: request["encoding_format"] == "base64")
        await closed(setup)
        assert np.allclose(await setup.embedder.embed_documents(["a"]), expected("a"))


async def test_a_model_that_the_server_does_not_know_rejects_no_document() -> None:
    async with running(Provider(otherwise=status(400))) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert error.details == {"reason": "misconfigured"}


def changed(change: Callable[[list[dict[str, Any]]], object]) -> Behaviour:
    def answer(request: dict[str, Any]) -> Answer:
        data = rows({**request, "encoding_format": "float"})
        change(data)
        return with_rows(data)

    return answer


BAD_ANSWERS: dict[str, Behaviour] = {
    "a row too few": changed(lambda data: data.pop()),
    "a row too many": changed(lambda data: data.append({**data[0], "index": len(data)})),
    "an index twice": changed(lambda data: data[0].update(index=1)),
    "an index beyond": changed(lambda data: data[0].update(index=7)),
    "no index": changed(lambda data: data[0].pop("index")),
    "every index zero": changed(lambda data: [row.update(index=0) for row in data]),
    "another dimension": changed(lambda data: [row.update(embedding=[1.0, 2.0]) for row in data]),
    "mixed dimensions": changed(lambda data: data[0].update(embedding=[1.0, 2.0])),
    "no components": changed(lambda data: [row.update(embedding=[]) for row in data]),
    "NaN": changed(lambda data: data[0].update(embedding=[1.0, float("nan"), 1.0, 1.0])),
    "infinity": changed(lambda data: data[0].update(embedding=[1.0, float("inf"), 1.0, 1.0])),
    "beyond single precision": changed(lambda data: data[0].update(embedding=[1e300, 1.0, 1.0, 1.0])),
    "a zero vector": changed(lambda data: data[0].update(embedding=[0.0] * 4)),
    "words": changed(lambda data: data[0].update(embedding=["a", "b", "c", "d"])),
    "nothing in a row": changed(lambda data: data[0].update(embedding=None)),
    "broken base64": changed(lambda data: data[0].update(embedding="abcde")),
    "no data": lambda _: as_json({"object": "list", "data": []}),
    "data of another kind": lambda _: as_json({"data": "rows"}),
    "another shape": lambda _: as_json([1, 2, 3]),
    "null": lambda _: as_json(None),
    "an error with status 200": lambda _: as_json({"error": {"message": "overloaded"}}),
    "HTML": lambda _: (200, {"content-type": "text/html"}, b"<html>Please log in</html>"),
    "HTML called JSON": lambda _: (200, {"content-type": "application/json"}, b"<html></html>"),
    "brackets without end": lambda _: (200, {"content-type": "application/json"}, b"[" * 100_000 + b"]" * 100_000),
    "nothing": lambda _: (200, {"content-type": "application/json"}, b""),
}


@pytest.mark.parametrize("behaviour", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_a_bad_answer_is_asked_for_again_and_never_returned(behaviour: Behaviour) -> None:
    async with running(Provider(), retries_max=2) as setup:
        await setup.embedder.prepare()
        setup.provider.script = [behaviour, behaviour]
        assert np.allclose(await setup.embedder.embed_documents(["a", "bb"]), expected("a", "bb"))

        setup.provider.otherwise = behaviour
        error = await failure(setup, "a", "bb")
        assert isinstance(error, Unavailable)
        assert error.details["reason"] in {"bad_answer", "wrong_dimension"}


async def test_a_dimension_other_than_the_configured_one_is_refused() -> None:
    def fixed(request: dict[str, Any]) -> Answer:
        request.pop("dimensions", None)
        return well(request)

    async with running(Provider(otherwise=fixed), dimension=6) as setup:
        error = await failure(setup)

        assert isinstance(error, Unavailable)
        assert "S4_EMBEDDING_DIMENSION" in error.message
        assert setup.embedder.trouble == "embedding_dimension_mismatch"


async def test_requests_are_counted_by_outcome_and_tokens_as_billed() -> None:
    def counted(outcome: str) -> float:
        return float(EMBEDDING_REQUESTS.labels("openai", outcome)._value.get())

    async with prepared(well) as setup:
        setup.provider.script = [status(429), status(500)]
        before = {outcome: counted(outcome) for outcome in ("ok", "throttled", "error")}
        tokens = EMBEDDING_TOKENS.labels("openai")._value.get()

        await setup.embedder.embed_documents(["a", "b"])

        assert {outcome: counted(outcome) - was for outcome, was in before.items()} == {
            "ok": 1,
            "throttled": 1,
            "error": 1,
        }
        assert EMBEDDING_TOKENS.labels("openai")._value.get() - tokens == 11


async def test_a_cancelled_caller_leaves_at_once() -> None:
    async with running(Provider()) as setup:
        await setup.embedder.prepare()
        asked = asyncio.Event()

        async def noticed(request: dict[str, Any]) -> Answer:
            asked.set()
            return await hanging(request)

        setup.provider.otherwise = noticed
        task = asyncio.create_task(setup.embedder.embed_documents(["a"]))
        await asked.wait()
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
