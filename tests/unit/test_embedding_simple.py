"""The embedder without a model, the estimate of tokens, and names of vector spaces."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.engine.embedding import approximate
from s4.engine.embedding.base import Embedder, slug
from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.engine.embedding.local import LocalEmbedder
from s4.engine.embedding.openai_compatible import OpenAICompatibleEmbedder
from s4.engine.embedding.retry_after import parse_retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def test_texts_that_share_words_are_near() -> None:
    vectors = await DeterministicEmbedder().embed_documents(
        ["The falcon dives on its prey", "A FALCON dives fast", "Interest rates rise again"]
    )

    assert vectors[0] @ vectors[1] > 0.3
    assert abs(vectors[0] @ vectors[2]) < 0.2


@given(st.lists(st.text(max_size=40), max_size=5), st.integers(1, 64))
async def test_hashed_vectors_are_of_unit_length_whatever_the_text(texts: list[str], dimension: int) -> None:
    vectors = await DeterministicEmbedder(dimension=dimension).embed_documents(texts)

    assert vectors.shape == (len(texts), dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


async def test_a_hashed_vector_is_the_same_for_ever() -> None:
    vector = await DeterministicEmbedder(dimension=8).embed_query("object storage that understands")

    assert vector.tolist() == pytest.approx([0, -(6**-0.5), -(6**-0.5), 0, 0, 0, -2 * 6**-0.5, 0], abs=1e-6)


@given(st.text())
def test_estimated_tokens_hold_every_character_that_is_not_blank(text: str) -> None:
    offsets = approximate.token_offsets(text)

    assert "".join(text[start:end] for start, end in offsets) == re.sub(r"\s", "", text)
    assert approximate.count_tokens(text) == len(offsets)


@given(st.text())
def test_a_slug_is_safe_in_a_path(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", slug(name))


async def test_spaces_tell_models_and_dimensions_apart() -> None:
    embedders: list[Embedder] = [
        LocalEmbedder(threads=1),
        DeterministicEmbedder(),
        DeterministicEmbedder(dimension=8),
        OpenAICompatibleEmbedder(model="BAAI/bge-m3", api_key=None, dimension=1024),
        OpenAICompatibleEmbedder(model="baai-bge-m3", api_key=None, dimension=1024),
        OpenAICompatibleEmbedder(model="baai-bge-m3", api_key=None, dimension=512),
    ]

    spaces = [embedder.space for embedder in embedders]

    assert len(set(spaces)) == len(spaces)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", space) for space in spaces)
    for embedder in embedders:
        await embedder.aclose()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("1e9", 3_600),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
        ("inf", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_retry_after(value, now=NOW) == expected
