"""The bundled model: its files are the pinned ones, its vectors have meaning, whatever the company."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from s4.engine.embedding.base import Vectors
from s4.engine.embedding.local import LocalEmbedder, _batches, read_model
from s4.engine.embedding.wordpiece import WordPieceTokenizer, read_vocabulary
from s4.kernel.errors import DataCorrupt
from s4.platform.turns import on_behalf_of

SENTENCES = [
    "The cat sat on the warm windowsill and slept.",
    "A kitten was napping by the sunny window.",
    "Quarterly revenue grew by eight percent after the merger.",
    "Ünïcödé, 日本語 and 한국어 stand side by side here.",
    "short",
    " ".join(["A long passage repeats itself to reach the end of what the model reads."] * 30),
]


@pytest.fixture(scope="module")
async def embedder() -> AsyncIterator[LocalEmbedder]:
    one = LocalEmbedder(threads=1)
    yield one
    await one.aclose()


async def test_similar_sentences_are_near_and_others_far(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(SENTENCES)

    assert vectors[0] @ vectors[1] > 0.5
    assert vectors[0] @ vectors[2] < 0.2


async def test_vectors_equal_those_of_the_published_model(embedder: LocalEmbedder) -> None:
    vector = await embedder.embed_query("This is an example sentence")

    # The first components that the model's card and its many users print; int8 weights move the third digit.
    assert vector[:4] == pytest.approx([0.0677, 0.0635, 0.0487, 0.0793], abs=0.01)


async def test_a_vector_is_of_unit_length_and_single_precision(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(SENTENCES)

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(SENTENCES), embedder.dimension)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(SENTENCES)), abs=1e-5)


async def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(embedder: LocalEmbedder) -> None:
    together = await embedder.embed_documents(SENTENCES * 9)
    alone = np.stack([await embedder.embed_query(text) for text in SENTENCES])

    assert np.abs(together - np.tile(alone, (9, 1))).max() < 1e-5


async def test_no_texts_make_no_vectors(embedder: LocalEmbedder) -> None:
    assert (await embedder.embed_documents([])).shape == (0, 384)


async def test_texts_without_words_have_vectors(embedder: LocalEmbedder) -> None:
    assert np.isfinite(await embedder.embed_documents(["", "\x00", "😀" * 500])).all()


async def test_what_is_beyond_the_model_does_not_change_the_vector(embedder: LocalEmbedder) -> None:
    beginning = " ".join(["word"] * (embedder.tokens_max - 2))

    vectors = await embedder.embed_documents([beginning, beginning + " and much more that nobody reads"])

    assert np.array_equal(vectors[0], vectors[1])


async def test_a_query_does_not_wait_behind_documents(embedder: LocalEmbedder) -> None:
    await embedder.prepare()
    release = threading.Event()
    embedder._documents.submit(release.wait)  # a batch that does not end
    documents = asyncio.create_task(embedder.embed_documents(SENTENCES))

    await embedder.embed_query("in between")

    assert not documents.done()
    release.set()
    await documents


async def test_a_long_document_delays_a_short_one_of_another_tenant_by_a_few_batches(embedder: LocalEmbedder) -> None:
    """Counted in sub-batches, which the model's thread runs one by one."""
    await embedder.prepare()
    inferred: list[int] = []
    run = embedder._run

    async def counted(executor: ThreadPoolExecutor, encoded: list[list[int]]) -> Vectors:
        rows = await run(executor, encoded)
        inferred.append(len(encoded))
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "_run", counted)
        with on_behalf_of("noisy"):
            noisy = [asyncio.create_task(embedder.embed_documents(["a long passage " * 60] * 12)) for _ in range(24)]
        while len(inferred) < 3:  # noqa: ASYNC110  # until the noisy tenant is in full swing
            await asyncio.sleep(0.001)
        before = len(inferred)

        with on_behalf_of("quiet"):
            await embedder.embed_documents(["one", "two", "three"])

        between = len(inferred) - before
        for task in noisy:
            task.cancel()
        await asyncio.gather(*noisy, return_exceptions=True)
    # Tokenising is one turn, its one batch another; each waits for the line of two and one turn of the noisy tenant.
    assert between <= 8


async def test_order_is_kept_beyond_what_is_tokenised_at_once(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(["word"] * 270 + ["another"])

    assert np.allclose(vectors[0], vectors[269], atol=1e-5)
    assert np.allclose(vectors[270], await embedder.embed_query("another"), atol=1e-5)


async def test_documents_of_two_callers_come_back_to_the_right_one(embedder: LocalEmbedder) -> None:
    first, second = await asyncio.gather(
        embedder.embed_documents(SENTENCES[:3]), embedder.embed_documents(SENTENCES[3:])
    )

    both = await embedder.embed_documents(SENTENCES)
    assert np.allclose(np.concatenate([first, second]), both, atol=1e-5)


async def test_a_damaged_model_is_refused() -> None:
    damaged = bytearray(read_model())
    damaged[len(damaged) // 2] ^= 1
    embedder = LocalEmbedder(threads=1, model=bytes(damaged))

    with pytest.raises(DataCorrupt):
        await embedder.embed_query("anything")
    await embedder.aclose()


def test_a_damaged_vocabulary_is_refused() -> None:
    with pytest.raises(DataCorrupt):
        WordPieceTokenizer(read_vocabulary().replace(b"\nthe\n", b"\nThe\n"))


def test_the_tokenizer_lowers_case_strips_accents_and_parts_cjk() -> None:
    tokenizer = WordPieceTokenizer(read_vocabulary())

    # From the `tokenizer.json` published with the model.
    assert tokenizer.ids("Hello, World!", tokens_max=256) == [101, 7592, 1010, 2088, 999, 102]
    assert tokenizer.ids("NAÏVE café", tokens_max=256) == tokenizer.ids("naive cafe", tokens_max=256)
    assert tokenizer.token_offsets("日本") == [(0, 1), (1, 2)]
    assert tokenizer.ids("x" * 101, tokens_max=256) == [101, 100, 102]


def test_the_names_of_control_tokens_in_a_document_are_only_letters() -> None:
    tokenizer = WordPieceTokenizer(read_vocabulary())

    assert tokenizer.ids("a [SEP] b", tokens_max=256).count(102) == 1


def test_offsets_are_code_points() -> None:
    text = "😀😀 élan 日本"

    offsets = WordPieceTokenizer(read_vocabulary()).token_offsets(text)

    assert [text[start:end] for start, end in offsets] == ["😀😀", "él", "an", "日", "本"]


def test_batches_hold_every_text_once_and_stay_small() -> None:
    lengths = [256, 3, 64, 64, 256, 17] * 40

    batches = _batches(lengths)

    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    padded = [len(batch) * max(lengths[position] for position in batch) for batch in batches]
    assert max(padded) <= 512
    assert sum(padded) < 1.1 * sum(lengths)
