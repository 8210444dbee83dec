"""From nothing to found passages: starts S4 on a temporary directory, uploads `documents/`, asks `queries.json`.

`make demo` runs it. Every question is asked and its first hit compared with the file that holds the answer; some are
shown. It ends with status 1 when something is not as it should be, so it serves as a check of a whole installation.
Everything is removed at the end; `S4_DEMO_KEEP=1` leaves S4 running until Ctrl-C.
"""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from s4client import AsyncS4AdminClient, AsyncS4Client, DocumentDetail, Passage, S4Error, SearchResult

HERE = Path(__file__).parent
MUST_FAIL = "damaged-scan.pdf"
SHOWN = {
    "how do I get my money back after a business trip": "By meaning: no word of the question stands in the passage.",
    "may I bring my dog to the office": "By meaning: the passage speaks of four-legged companions.",
    "someone got hurt at the factory": "By meaning, in an OpenDocument report.",
    "cleaning dirt out of the water pipes": "By meaning, in a long PDF, with the page to cite.",
    "E-4711": "An exact code, where meaning is no help.",
    "raft race": "Two exact words, in the body of an e-mail.",
    "gross margin by quarter": "Meaning and words together find a table of numbers.",
    "Wie oft muss der Schmutzfänger gereinigt werden?": "German is found by its words, umlauts and all.",
}
"""Questions of `queries.json` that are printed, and why they are interesting."""

START_SECONDS_MAX = 60  # a cold disk needs several seconds to import everything
STOP_SECONDS_MAX = 40  # above S4's own bound for finishing what it has begun
WAIT_SECONDS_MAX = 300  # for all samples; two cores need about a tenth of it
PARALLEL_UPLOADS = 4
EXCERPT_LINES = 2
LOG_TAIL_LINES = 15


class DemoFailed(Exception):
    """Something is not as it should be; the text says what."""


@dataclass(frozen=True, slots=True)
class Question:
    """An entry of `queries.json`."""

    query: str
    mode: Any
    expect: str
    expect_text: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running `s4 serve`."""

    url: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path

    @property
    def admin_key(self) -> str:
        return (self.data_dir / "admin.key").read_text().strip()


def main() -> int:
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated demo cleans up as well
    try:
        with tempfile.TemporaryDirectory(prefix="s4-demo-") as folder:
            run(console, Path(folder))
    except (DemoFailed, S4Error, OSError) as error:
        console.print(Text(f"\nThe demo failed: {error}", style="bold red"))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everything is cleaned up.")
        return 0 if keeps_running() else 130
    return 0


def keeps_running() -> bool:
    return os.environ.get("S4_DEMO_KEEP", "") not in ("", "0")


def run(console: Console, folder: Path) -> None:
    console.print("[bold]S4 demo[/]: from files to found passages\n")
    started = time.monotonic()
    with running_server(folder) as server:
        console.print(f"S4 runs at {server.url} (started in {time.monotonic() - started:.1f} s)")
        try:
            key = asyncio.run(show(console, server))
            say_how_to_go_on(console, server, key)
            if keeps_running():
                server.process.wait()
                raise DemoFailed(f"S4 ended by itself.\n{tail(server.log)}")
        except KeyboardInterrupt:
            console.print("\nStopping S4, which first finishes what it has begun …")
            raise


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[Server]:
    """`s4 serve` with settings of its own, whatever the environment says, from here to the end of the block."""
    data_dir, log = folder / "data", folder / "s4.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "s4.entrypoints.cli", "serve", "--port", "0", "--data-dir", str(data_dir)],
            env={name: value for name, value in os.environ.items() if not name.startswith("S4_")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C reaches the demo, which stops S4 in its own time
        )
    try:
        yield Server(await_url(process, log), process, data_dir, log)
    finally:
        stop(process)


def await_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that S4 announces in its log once it answers."""
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up_at:
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event_type") == "api.started":
                    return str(event["details"]["url"])
        if process.poll() is not None:
            raise DemoFailed(f"S4 ended while starting, with status {process.returncode}.\n{tail(log)}")
        time.sleep(0.1)
    raise DemoFailed(f"S4 did not start within {START_SECONDS_MAX} s.\n{tail(log)}")


def tail(log: Path) -> str:
    with log.open(errors="replace") as lines:
        return "Its log ends with:\n" + "".join(deque(lines, LOG_TAIL_LINES))


def stop(process: subprocess.Popen[bytes]) -> None:
    """Gracefully, then for good, with all that it started."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C does not wait
        process.wait(STOP_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


async def show(console: Console, server: Server) -> str:
    """Uploads, asks, prints. Returns the tenant's key."""
    async with AsyncS4AdminClient(server.url, api_key=server.admin_key) as admin:
        tenant = await admin.create_tenant("Ferrenholt Heat Pumps")
    async with AsyncS4Client(server.url, api_key=tenant.api_key) as s4:
        started = time.monotonic()
        documents = await upload_all(console, s4)
        seconds = time.monotonic() - started
        print_documents(console, documents)
        chunks = sum(document.chunks or 0 for document in documents)
        console.print(
            f"\n{len(documents)} files, {chunks} chunks: [bold]{seconds:.1f} s[/] from the first byte sent to all searchable"
        )
        check_documents(documents)
        await ask_all(console, s4)
    return tenant.api_key


async def upload_all(console: Console, s4: AsyncS4Client) -> list[DocumentDetail]:
    """Uploads all samples side by side and waits until each has an end state."""
    paths = sorted((HERE / "documents").iterdir())
    progress = Progress(
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    uploaded = progress.add_task("Uploaded", total=len(paths))
    processed = progress.add_task("Processed", total=len(paths))
    gate = asyncio.Semaphore(PARALLEL_UPLOADS)

    async def upload(path: Path) -> DocumentDetail:
        async with gate:
            document = await s4.upload(path, key=path.name)
        progress.advance(uploaded)
        ended = await s4.wait(document.document_id, timeout=WAIT_SECONDS_MAX)
        progress.advance(processed)
        return ended

    with progress:
        return await asyncio.gather(*map(upload, paths))


def print_documents(console: Console, documents: list[DocumentDetail]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("File")
    table.add_column("Format", style="dim")
    table.add_column("Pages", justify="right")
    table.add_column("Chunks", justify="right")
    table.add_column("Status")
    for document in documents:
        status = Text(document.status, style="green" if document.status == "ready" else "red")
        if document.error is not None:
            status.append(f" ({document.error.code})")
        table.add_row(
            document.filename,
            Path(document.filename).suffix.removeprefix("."),
            str(document.pages or ""),
            str(document.chunks or ""),
            status,
        )
    console.print()
    console.print(table)
    for document in documents:
        if document.error is not None:
            console.print(Text(f"\n{document.filename}: {document.error.message}", style="red"))


def check_documents(documents: list[DocumentDetail]) -> None:
    """All are ready but the damaged one, which says why."""
    wrong = [
        document.filename for document in documents if (document.status == "failed") != (document.filename == MUST_FAIL)
    ]
    if wrong:
        raise DemoFailed(f"All files but {MUST_FAIL} should be ready and that one failed; look at {', '.join(wrong)}.")


async def ask_all(console: Console, s4: AsyncS4Client) -> None:
    """Asks every question, prints some. Raises `DemoFailed` with all whose first hit is not the answer."""
    questions = [
        Question(entry["query"], entry["mode"], entry["expect"], entry["expect_text"])
        for entry in json.loads((HERE / "queries.json").read_text())
    ]
    misses, milliseconds = [], []
    for question in questions:
        answer = await s4.search(question.query, mode=question.mode, limit=3)
        milliseconds.append(answer.execution_time_ms)
        if question.query in SHOWN:
            print_answer(console, question, answer.results)
        if not answers(question, answer.results):
            found = [result.filename for result in answer.results]
            misses.append(
                f"“{question.query}” ({question.mode}): the answer is in {question.expect}, found was {found}"
            )
    if misses:
        raise DemoFailed(f"{len(misses)} of {len(questions)} questions went wrong:\n  " + "\n  ".join(misses))
    median = sorted(milliseconds)[len(milliseconds) // 2]
    console.print(
        f"\n[bold green]All {len(questions)} questions found the file and the passage that answer them first[/]; half of them within {median:.0f} ms."
    )


def answers(question: Question, results: tuple[SearchResult, ...]) -> bool:
    """Whether the first hit is the expected file, with the passage that answers."""
    return bool(
        results
        and results[0].filename == question.expect
        and any(squeezed(question.expect_text)[0] in squeezed(passage.text)[0] for passage in results[0].chunks)
    )


def print_answer(console: Console, question: Question, results: tuple[SearchResult, ...]) -> None:
    console.print(f"\n[bold]“{escape(question.query)}”[/] ({question.mode})")
    console.print(f"  [italic dim]{SHOWN[question.query]}[/]")
    if not results:
        console.print("  nothing found")
        return
    first, *others = results
    lines = [cited(first)]
    if first.chunks:
        lines.append(excerpt(first.chunks[0], question.expect_text, chars=EXCERPT_LINES * (console.width - 8)))
    if others:
        lines.append(Text("then ") + Text(", ").join(cited(other, heading=False) for other in others))
    console.print(Padding(Group(*lines), (0, 0, 0, 2)))


def cited(result: SearchResult, *, heading: bool = True) -> Text:
    """Score, file, page and heading of the best passage."""
    text = Text.assemble((f"{result.score:.2f} ", "cyan"), (result.filename, "bold" if heading else ""))
    if result.chunks:
        best = result.chunks[0]
        text.append(f" page {best.page}" if best.page else "")
        text.append(f" “{best.heading.rsplit(' > ')[-1]}”" if best.heading and heading else "")
    return text


def excerpt(passage: Passage, answer: str, *, chars: int) -> Text:
    """So much of the passage, with its highlights, around the words that answer the question."""
    text, places = squeezed(passage.text)
    shown = Text(text)
    for start, end in passage.highlights:
        shown.stylize("bold yellow", places[start], places[end])
    at = text.find(squeezed(answer)[0])
    if at < 0:
        at = places[passage.highlights[0][0]] if passage.highlights else 0
    start = max(0, min(at - chars // 4, len(text) - chars))
    if start:
        start = text.find(" ", start) + 1
    end = len(text) if start + chars >= len(text) else text.rfind(" ", start, start + chars)
    return Text("…" if start else "") + shown[start:end] + Text("…" if end < len(text) else "")


def squeezed(text: str) -> tuple[str, list[int]]:
    """The text with each run of white space as one space, and where each of its offsets has gone."""
    out: list[str] = []
    places = []
    for character in text:
        places.append(len(out))
        if not character.isspace():
            out.append(character)
        elif out and out[-1] != " ":
            out.append(" ")
    return "".join(out), [*places, len(out)]


def say_how_to_go_on(console: Console, server: Server, key: str) -> None:
    console.print()
    kept = keeps_running()
    if kept:
        console.print("S4 is still running. Ask it yourself:", style="bold")
        address = server.url
    else:
        console.print(
            "Go on with a server of your own; S4_DEMO_KEEP=1 make demo leaves this one running.", style="bold"
        )
        address, key = "http://127.0.0.1:8000", "s4_…"
        print_line(console, ".venv/bin/s4 serve &")
        print_line(console, ".venv/bin/s4 tenant create Acme      # prints the tenant's key")
    question = json.dumps({"query": "who may work from home", "limit": 3})
    print_line(console, f"export S4_URL={address} S4_TENANT_KEY={key}")
    print_line(console, f".venv/bin/s4 upload {'README.md' if kept else 'samples/documents'}")
    print_line(console, ".venv/bin/s4 search 'who may work from home'")
    print_line(
        console,
        'curl "$S4_URL/api/v1/search" -H "X-Tenant-Key: $S4_TENANT_KEY" '
        f"-H 'Content-Type: application/json' -d {shlex.quote(question)}",
    )
    if kept:
        print_line(console, f"{server.url}/docs      # every route, in a browser")
        console.print(f"Ctrl-C here, or kill {os.getpid()}, stops S4 and removes {server.data_dir.parent}.")


def print_line(console: Console, line: str) -> None:
    """A line to be copied: never broken, whatever the width."""
    console.print(f"  {line}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
