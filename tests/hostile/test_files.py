"""Every hostile file, read by the real pool with the limits of production: it ends as it must, and costs what it may.

The limits themselves bound time and memory; here they are held against files that would like more. `make hostile`
adds the files that take long.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.engine.chunking import chunk
from s4.engine.embedding.wordpiece import WordPieceTokenizer, read_vocabulary
from s4.engine.extraction import ExtractedText, ExtractionPool
from s4.kernel.errors import DocumentRejected
from s4.kernel.settings import Settings
from s4.kernel.units import KIB
from tests.factories.hostile import HostileFile, corpus
from tests.factories.reading import make_pool

LIMITS = Settings()
SENTENCES = re.compile(r"[A-Z][^\n]+\.")
SECRET = re.compile(r"root:[^\n]*:0:0:")
"""From `/etc/passwd`, which external entities ask for."""
LOOP_SECONDS_MAX = 5.0
"""Far below the lease of a job, whose heartbeat must come through; some milliseconds on an idle machine."""


def files() -> list[object]:
    return [
        pytest.param(one, id=one.name, marks=[pytest.mark.long, pytest.mark.timeout(900)] if one.heavy else [])
        for one in corpus()
    ]


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator[ExtractionPool]:
    made = make_pool()
    yield made
    await made.aclose()


@contextlib.asynccontextmanager
async def memory_watched(pool: ExtractionPool) -> AsyncIterator[list[int]]:
    """The most memory that any child held, in bytes, as seen from outside."""
    most = [0]

    async def watch() -> None:
        while True:
            for pid in pool.pids:
                with contextlib.suppress(OSError, TypeError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    match = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
                    most[0] = max(most[0], int(match[1]) * KIB)  # type: ignore[index]
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()


async def read(pool: ExtractionPool, path: Path, filename: str) -> ExtractedText | DocumentRejected:
    try:
        return await pool.extract(path, filename=filename, content_type=None)
    except DocumentRejected as rejected:
        return rejected


@pytest.mark.parametrize("file", files())
async def test_a_hostile_file_ends_as_it_must_and_the_next_file_is_read(
    pool: ExtractionPool, tmp_path: Path, file: HostileFile
) -> None:
    path = tmp_path / "content"
    path.write_bytes(file.make())
    plain = tmp_path / "plain"
    plain.write_text("an honest text")

    async with memory_watched(pool) as most, asyncio.timeout(LIMITS.extraction_seconds_max + 60):
        ended = await read(pool, path, file.filename)

    if isinstance(ended, DocumentRejected):
        assert ended.code in file.ends
        assert SENTENCES.fullmatch(ended.message), "a sentence for a person"
    else:
        assert "ready" in file.ends
        assert ended.text.strip()
        assert not SECRET.search(ended.text), "it read a file of the machine"
    assert most[0] <= LIMITS.extraction_memory_bytes
    assert (await pool.extract(plain, filename="plain.txt", content_type=None)).text == "an honest text"
    assert not Path("/tmp/s4-zip-slip.txt").exists()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "file", [pytest.param(one, id=one.name) for one in corpus() if one.name.startswith("20 million")]
)
async def test_the_longest_legal_texts_are_cut_while_the_loop_goes_on(
    pool: ExtractionPool, tmp_path: Path, file: HostileFile
) -> None:
    path = tmp_path / "content"
    path.write_bytes(file.make())
    text = await pool.extract(path, filename=file.filename, content_type=None)
    offsets = WordPieceTokenizer(read_vocabulary()).token_offsets
    loop = asyncio.get_running_loop()
    longest = 0.0
    refusal: DocumentRejected | None = None

    async def beat() -> None:
        nonlocal longest
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - before)

    beating = asyncio.create_task(beat())
    try:
        pieces = await asyncio.to_thread(
            chunk,
            text,
            token_offsets=offsets,
            tokens_max=LIMITS.chunk_tokens_max,
            overlap_tokens=LIMITS.chunk_overlap_tokens,
            chunks_max=LIMITS.chunks_max,
        )
        assert 0 < len(pieces) <= LIMITS.chunks_max
    except DocumentRejected as rejected:
        refusal = rejected
    finally:
        beating.cancel()
    assert refusal is None or (refusal.code == "text_too_long" and "Split it" in refusal.message)
    assert longest < LOOP_SECONDS_MAX
