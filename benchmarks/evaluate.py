"""Retrieval quality: the Cranfield collection through S4's HTTP API, against published methods on the same data.

    python benchmarks/evaluate.py path/to/cranfield
    python benchmarks/evaluate.py path/to/cranfield --url http://127.0.0.1:8000 --key s4_…

Uploads the abstracts, asks the 225 queries in each mode, and prints nDCG@10 and recall@100 of documents. Ends with
status 1 when a mode's nDCG@10 is more than 0.01 below its reference. Without `--url` it starts an S4 on a temporary
directory, with the bundled model. With it, use a tenant of its own: other documents would stand in the rankings.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from statistics import mean
from typing import Any

from cranfield import Collection, ndcg, read_collection, recall
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from served import ServerFailed, running_server

from s4client import AsyncS4Client, Conflict, S4Error

REFERENCE = {"keyword": 0.373, "semantic": 0.381, "hybrid": 0.418}
"""nDCG@10 on the whole collection, title and text as one passage: BM25 with an English stemmer; all-MiniLM-L6-v2 (int8
ONNX, 256 tokens); the two fused by reciprocal rank (k = 60)."""
TOLERANCE = 0.01
"""S4 cuts longer abstracts into several chunks and ranks documents by the best of them: a method of its own, which
must not cost more than this."""
DEPTH = 100
PARALLEL_UPLOADS = 8
PARALLEL_QUERIES = 2  # more only wait for each other in the model
INDEXING_SECONDS_MAX = 1200


class EvaluationFailed(Exception):
    """The evaluation could not be done; the text says why."""


def main() -> int:
    options = _options()
    console = Console(highlight=False)
    try:
        collection = read_collection(options.collection)
        if options.url:
            figures = asyncio.run(evaluate(console, collection, options.url, options.key))
        else:
            with (
                tempfile.TemporaryDirectory(prefix="s4-evaluate-") as folder,
                running_server(Path(folder, "data")) as server,
            ):
                figures = asyncio.run(evaluate(console, collection, server.url, server.new_tenant("Cranfield")))
    except (EvaluationFailed, ServerFailed, S4Error, OSError, ValueError) as error:
        console.print(f"The evaluation failed: {error}", style="bold red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return report(console, figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Retrieval quality of S4 on the Cranfield collection.")
    parser.add_argument("collection", type=Path, help="directory with cran.all.1400, cran.qry and cranqrel")
    parser.add_argument("--url", help="of a running S4; default: one is started")
    parser.add_argument("--key", help="of an empty tenant there")
    options = parser.parse_args()
    if bool(options.url) != bool(options.key):
        parser.error("--url and --key go together")
    return options


Figures = dict[str, tuple[float, float]]
"""nDCG@10 and recall@100 by mode."""


async def evaluate(console: Console, collection: Collection, url: str, key: str) -> Figures:
    """Uploads, waits, asks."""
    progress = Progress(
        TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    async with AsyncS4Client(url, api_key=key) as s4:
        with progress:
            started = time.monotonic()
            ids = await upload_all(progress, s4, collection)
            await index_all(progress, s4, collection, ids)
            seconds = time.monotonic() - started
            figures = {mode: await ask_all(progress, s4, collection, mode) for mode in REFERENCE}
    blank = ", ".join(sorted(collection.blank, key=int))
    console.print(
        f"\n{len(ids)} documents uploaded and searchable in {seconds:.0f} s ({len(ids) / seconds:.1f} per second); "
        f"{blank} are blank in the collection and ended failed, as they ought to: they cannot be found."
    )
    return figures


async def upload_all(progress: Progress, s4: AsyncS4Client, collection: Collection) -> dict[str, str]:
    """The collection's id by S4's. What is there already is replaced."""
    task = progress.add_task("Uploaded", total=len(collection.documents))

    async def upload(number: str, text: str) -> tuple[str, str]:
        content = text.encode()
        try:
            document = await s4.upload(content, key=number, filename=f"{number}.txt")
        except Conflict:
            document = await s4.put_by_key(number, content, content_type="text/plain")
        return document.document_id, number

    return dict(await _gather(progress, task, PARALLEL_UPLOADS, upload, list(collection.documents.items())))


async def index_all(progress: Progress, s4: AsyncS4Client, collection: Collection, ids: dict[str, str]) -> None:
    """Waits until all have an end state. Raises `EvaluationFailed` unless exactly the blank ones failed."""
    task = progress.add_task("Indexed", total=len(ids))
    give_up_at = time.monotonic() + INDEXING_SECONDS_MAX
    while unfinished := (await s4.list_page(status="processing", limit=1)).total or 0:
        progress.update(task, completed=max(0, len(ids) - unfinished))
        if time.monotonic() > give_up_at:
            raise EvaluationFailed(f"{unfinished} documents are still in work after {INDEXING_SECONDS_MAX} s.")
        await asyncio.sleep(0.5)
    progress.update(task, completed=len(ids))
    failed = {
        ids.get(document.document_id, document.document_id) async for document in s4.iter_documents(status="failed")
    }
    if failed != collection.blank:
        raise EvaluationFailed(
            f"The blank documents {sorted(collection.blank)} should have failed, and no others; "
            f"failed are {sorted(failed)[:20]}."
        )


async def ask_all(progress: Progress, s4: AsyncS4Client, collection: Collection, mode: Any) -> tuple[float, float]:
    """Means over the queries."""
    task = progress.add_task(f"Asked ({mode})", total=len(collection.queries))

    async def ask(number: int, query: str) -> tuple[float, float]:
        answer = await s4.search(query, mode=mode, limit=DEPTH, include_metadata=False, include_chunks=False)
        if answer.degraded:
            raise EvaluationFailed("The server answers from keywords alone: its embedding provider is down.")
        ranking = [result.key or "" for result in answer.results]
        gains = collection.gains[number]
        return ndcg(ranking, gains, at=10), recall(ranking, gains, at=DEPTH)

    values = await _gather(progress, task, PARALLEL_QUERIES, ask, list(enumerate(collection.queries, start=1)))
    return mean(value for value, _ in values), mean(value for _, value in values)


async def _gather(
    progress: Progress,
    task: TaskID,
    parallel: int,
    work: Callable[..., Coroutine[Any, Any, Any]],
    arguments: list[tuple[Any, Any]],
) -> list[Any]:
    """`work` on all arguments, at most so many at a time; the first error ends it."""
    gate = asyncio.Semaphore(parallel)

    async def one(pair: tuple[Any, Any]) -> Any:
        async with gate:
            result = await work(*pair)
        progress.advance(task)
        return result

    return await asyncio.gather(*map(one, arguments))


def report(console: Console, figures: Figures) -> int:
    """Prints the table. 1 when a mode fell behind its reference."""
    table = Table(box=None, pad_edge=False)
    for heading in ("mode", "nDCG@10", "reference", "difference", f"recall@{DEPTH}"):
        table.add_column(heading, justify="left" if heading == "mode" else "right")
    behind = []
    for mode, (quality, found) in figures.items():
        difference = quality - REFERENCE[mode]
        if difference < -TOLERANCE:
            behind.append(mode)
        style = "red" if mode in behind else "green"
        table.add_row(
            mode, f"{quality:.3f}", f"{REFERENCE[mode]:.3f}", f"[{style}]{difference:+.3f}[/]", f"{found:.3f}"
        )
    console.print(table)
    if behind:
        console.print(f"Behind the reference by more than {TOLERANCE}: {', '.join(behind)}", style="bold red")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
