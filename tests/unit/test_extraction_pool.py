"""Children that read hostile files: contained, replaced, blind to secrets, and gone with their parent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.engine.extraction import ExtractionPool
from s4.engine.extraction.process import ExtractionChild
from s4.kernel.errors import DocumentRejected, Unavailable
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.telemetry.metrics import EXTRACTION_CHILDREN
from tests.factories import files
from tests.factories.reading import make_pool

# The parser's libraries alone take 130 MiB of addresses.
SMALL_MEMORY_BYTES = 320 * MIB


@pytest.fixture
async def pool() -> AsyncIterator[ExtractionPool]:
    made = make_pool()
    yield made
    await made.aclose()


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("Größe und Öl")
    return path


async def read_text(pool: ExtractionPool, path: Path) -> str:
    return (await pool.extract(path, filename=path.name, content_type=None)).text


def ended(reason: str) -> float:
    return EXTRACTION_CHILDREN.labels(reason)._value.get()


def about(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def is_running(pid: int) -> bool:
    """False for a zombie: whether it is reaped depends on the machine's first process."""
    try:
        return about(pid, "stat").rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_one_child_serves_many_files(pool, text_file, tmp_path):
    pdf = tmp_path / "b.bin"
    pdf.write_bytes(files.pdf([["Über Öl"], ["zwei"]]))
    await pool.preload()
    pids = pool.pids

    extracted = await pool.extract(pdf, filename="b.bin", content_type="text/plain")

    assert await read_text(pool, text_file) == "Größe und Öl"
    assert [page.char_end for page in extracted.pages] == [9, 13]
    assert pool.pids == pids
    assert len(pids) == 1


async def test_a_refusal_of_the_child_arrives_and_costs_no_child(pool, tmp_path, text_file):
    broken = tmp_path / "x.pdf"
    broken.write_bytes(files.pdf([["x"]])[:150])
    await read_text(pool, text_file)
    pids = pool.pids

    with pytest.raises(DocumentRejected) as caught:
        await read_text(pool, broken)

    assert caught.value.code == "corrupt"
    assert pool.pids == pids


async def test_a_file_that_exhausts_memory_is_contained(tmp_path, text_file):
    bomb = tmp_path / "bomb.docx"
    bomb.write_bytes(files.docx([], filler_bytes=90_000_000))
    pool = make_pool(memory_bytes=SMALL_MEMORY_BYTES)
    before = ended("memory")

    with pytest.raises(DocumentRejected) as caught:
        await read_text(pool, bomb)

    assert caught.value.code == "resource_limit"
    assert "memory" in caught.value.message
    assert ended("memory") == before + 1
    assert await read_text(pool, text_file) == "Größe und Öl"
    await pool.aclose()


async def test_a_file_that_takes_too_long_loses_its_child(tmp_path, text_file):
    pool = make_pool(seconds_max=1.0)
    await pool.preload()
    (stuck,) = pool.pids
    os.kill(stuck, signal.SIGSTOP)
    before = ended("timeout")

    with pytest.raises(DocumentRejected) as caught:
        await read_text(pool, text_file)

    assert caught.value.code == "resource_limit"
    assert "1 seconds" in caught.value.message
    assert ended("timeout") == before + 1
    assert not is_running(stuck)
    assert await read_text(pool, text_file) == "Größe und Öl"
    await pool.aclose()


async def test_a_child_that_dies_while_idle_is_replaced(pool, text_file):
    await read_text(pool, text_file)
    (old,) = pool.pids
    os.kill(old, signal.SIGKILL)

    assert await read_text(pool, text_file) == "Größe und Öl"
    assert pool.pids != (old,)


async def _asked(pool: ExtractionPool, path: Path, monkeypatch: pytest.MonkeyPatch, kills: int) -> str:
    """Extracts while the first `kills` children that are asked die on the way."""
    left = kills
    receive = ExtractionChild.ask

    async def ask(child: ExtractionChild, *args, **kwargs):
        nonlocal left
        if left:
            left -= 1
            os.kill(child.pid, signal.SIGKILL)
        return await receive(child, *args, **kwargs)

    monkeypatch.setattr(ExtractionChild, "ask", ask)
    return await read_text(pool, path)


async def test_a_file_that_kills_a_used_child_is_tried_once_more_in_a_fresh_one(pool, text_file, monkeypatch):
    await read_text(pool, text_file)

    assert await _asked(pool, text_file, monkeypatch, kills=1) == "Größe und Öl"


async def test_a_file_that_kills_twice_is_refused(pool, text_file, monkeypatch):
    await read_text(pool, text_file)

    with pytest.raises(DocumentRejected, match="memory"):
        await _asked(pool, text_file, monkeypatch, kills=2)


async def test_a_file_that_kills_a_fresh_child_is_refused_at_once(pool, text_file, monkeypatch):
    with pytest.raises(DocumentRejected, match="memory"):
        await _asked(pool, text_file, monkeypatch, kills=1)


async def test_a_cancelled_call_kills_its_child_and_frees_its_place(pool, text_file):
    await pool.preload()
    (stuck,) = pool.pids
    os.kill(stuck, signal.SIGSTOP)
    call = asyncio.create_task(read_text(pool, text_file))
    while pool._idle:  # noqa: ASYNC110  # until the child is asked
        await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert not is_running(stuck)
    assert await read_text(pool, text_file) == "Größe und Öl"


async def test_never_more_children_than_allowed(tmp_path, text_file):
    pool = make_pool(processes=2)
    seen: set[int] = set()

    async def one() -> None:
        await read_text(pool, text_file)
        seen.update(pool.pids)

    await asyncio.gather(*(one() for _ in range(8)))

    assert 1 <= len(seen) <= 2
    await pool.aclose()


async def test_a_child_is_recycled_after_its_share_of_files(text_file):
    pool = make_pool(files_per_child=2)
    before = ended("recycled")

    for _ in range(5):
        await read_text(pool, text_file)

    assert ended("recycled") == before + 2
    await pool.aclose()


async def test_children_see_nothing_of_the_environment(pool, text_file, monkeypatch):
    monkeypatch.setenv("S4_SECRET_KEY", "very secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very secret")
    await read_text(pool, text_file)

    environment = about(pool.pids[0], "environ")

    assert "S4_" not in environment
    assert "very secret" not in environment


async def test_children_are_limited(pool, text_file):
    await read_text(pool, text_file)
    (pid,) = pool.pids

    limits = about(pid, "limits")

    assert f"Max address space         {Settings().extraction_memory_bytes}" in limits
    assert "Max core file size        0" in limits
    assert int(about(pid, "oom_score_adj")) >= 500
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


async def test_a_missing_file_is_not_the_documents_fault(pool, tmp_path):
    with pytest.raises(Unavailable):
        await read_text(pool, tmp_path / "gone")


async def test_a_child_that_cannot_start_is_not_the_documents_fault(text_file):
    pool = make_pool(memory_bytes=40 * MIB)  # too little for the interpreter and the parser

    with pytest.raises(Unavailable):
        await read_text(pool, text_file)
    await pool.aclose()


async def test_closing_ends_the_children_and_the_calls_in_work(text_file):
    pool = make_pool()
    await pool.preload()
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    call = asyncio.create_task(read_text(pool, text_file))
    await asyncio.sleep(0)

    await pool.aclose()

    with pytest.raises(Unavailable):
        await call
    with pytest.raises(Unavailable):
        await read_text(pool, text_file)
    assert not is_running(pid)


PARENT = """
import asyncio, sys
from tests.factories.reading import make_pool
async def main():
    pool = make_pool()
    await pool.preload()
    print(*pool.pids, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_children_die_with_their_parent_even_when_they_cannot_see_its_end():
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    os.kill(child, signal.SIGSTOP)  # it will not notice the closed pipe

    parent.kill()
    await parent.wait()

    async with asyncio.timeout(60):
        while is_running(child):  # noqa: ASYNC110  # the kernel tells nobody but the dead parent
            await asyncio.sleep(0.01)
