"""A provider that repeats the text that it was sent: no word of it reaches a traceback."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from s4.engine.embedding.openai_compatible import OpenAICompatibleEmbedder
from s4.kernel.errors import S4Error
from tests.unit.test_embedding_openai import Answer, Behaviour, Provider, as_json, running, well, with_rows

SECRET = "the walrus resigns in June"


def repeating(request: dict[str, Any]) -> str:
    return f"I do not take {request['input']!r}"


ECHOES: dict[str, Behaviour] = {
    "a refusal": lambda request: as_json({"error": {"message": repeating(request)}}, status=400),
    "a code": lambda request: as_json({"error": {"message": "no", "code": repeating(request)}}, status=400),
    "a page": lambda request: (500, {"content-type": "text/html"}, repeating(request).encode()),
    "a revoked key": lambda request: as_json(repeating(request), status=401),
    "a success in words": lambda request: (200, {"content-type": "text/plain"}, repeating(request).encode()),
    "broken JSON": lambda request: (200, {"content-type": "application/json"}, repeating(request).encode()),
    "words for numbers": lambda request: with_rows([{"index": 0, "embedding": [repeating(request)] * 4}]),
    "words for a row": lambda request: with_rows([{"index": 0, "embedding": repeating(request)}]),
    "words for a number of a row": lambda request: with_rows([{"index": repeating(request), "embedding": [0.0]}] * 2),
    "a header": lambda request: (200, {f"x {repeating(request)}": "1"}, b"{}"),
}


ASKS: dict[str, Callable[[OpenAICompatibleEmbedder, str], Awaitable[Any]]] = {
    "document": lambda embedder, text: embedder.embed_documents([text]),
    "query": lambda embedder, text: embedder.embed_query(text),
}


@pytest.mark.parametrize("asked", list(ASKS))
@pytest.mark.parametrize("way", ECHOES)
async def test_no_traceback_repeats_what_the_provider_repeats_of_a_text(way: str, asked: str) -> None:
    """Tracebacks go to the log, which holds no text of documents and queries."""

    def echoing(request: dict[str, Any]) -> Answer:
        answer = ECHOES[way](request) if SECRET in request["input"] else well(request)
        assert isinstance(answer, tuple)
        return answer

    async with running(Provider(otherwise=echoing), retries_max=0) as setup:
        await setup.embedder.prepare()
        with pytest.raises(S4Error) as raised:
            await ASKS[asked](setup.embedder, SECRET)

    printed = "".join(traceback.format_exception(raised.value))
    assert "walrus" not in printed
    assert "direct cause" in printed, "which is named all the same"
