"""How long an upload takes to be acknowledged, to be searchable, and where the time between goes."""

import os
import random
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from machine import load
from scrape import between, stages
from served import running_server
from wire import Wire

from s4.kernel.units import KIB, MIB

SAMPLES = Path(__file__).parent.parent / "samples" / "documents"
FLOOR_PIECE_BYTES = 256 * KIB  # what a server that streams would write at a time
FRESHNESS_SECONDS_MAX = 2.0
STAGES = ("read", "extract", "chunk", "embed", "write", "publish")
BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class UploadSizes:
    """How much is measured: uploads by size, small texts, samples."""

    uploads: tuple[tuple[int, int], ...]
    """(bytes, how many)."""
    texts: int
    samples: int | None
    """None: all."""


FULL = UploadSizes(uploads=((KIB, 300), (100 * KIB, 300), (10 * MIB, 40)), texts=50, samples=None)
QUICK = UploadSizes(uploads=((KIB, 10), (100 * KIB, 10), (MIB, 3)), texts=3, samples=4)


def acknowledgements(folder: Path, sizes: UploadSizes) -> None:
    """Uploads beside the least that durability costs, in turn: the same bytes into a local file, with fsync."""
    rows = []
    floor_dir = folder / "floor"
    floor_dir.mkdir()
    with running_server(folder / "data", "--no-worker") as server, Wire(server.url, server.new_tenant("A")) as wire:
        for size_bytes, count in sizes.uploads:
            posted, put, floor = Durations(), Durations(), Durations()
            for number in range(-3, count):  # the first three warm up
                name = f"{size_bytes}-{number}"
                content = os.urandom(size_bytes)
                floor_seconds = _write(floor_dir / name, content)
                post_seconds, _ = wire.upload(name, content, content_type=BINARY)
                put_seconds, _ = wire.send("PUT", f"/api/v1/documents/by-key/{name}", content, content_type=BINARY)
                if number >= 0:
                    posted.add(post_seconds)
                    put.add(put_seconds)
                    floor.add(floor_seconds)
            label = f"{size_bytes // KIB} KiB" if size_bytes < MIB else f"{size_bytes // MIB} MiB"
            for name, times in ((f"POST, {label}", posted), (f"PUT by key, {label}", put), (f"file, {label}", floor)):
                rows.append([name, str(times.count), *times.milliseconds, *times.ratios(floor)])
    print_heading("Upload to acknowledgement, ms")
    print_text(
        "One client, one connection, new documents of random bytes; embedded mode, `--no-worker`, so that nothing\n"
        "else runs. “file” is the floor: the same bytes written and fsynced to a file beside, in turn with the\n"
        "uploads.\n"
    )
    print_table(["request", *DURATION_COLUMNS, "p50/floor", "p99/floor"], rows)


def _write(path: Path, content: bytes) -> float:
    started = time.perf_counter()
    with path.open("wb") as file:
        for start in range(0, len(content), FLOOR_PIECE_BYTES):
            file.write(content[start : start + FLOOR_PIECE_BYTES])
        file.flush()
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def pipeline(folder: Path, sizes: UploadSizes) -> None:
    """The bundled model, default settings: small texts one after the other, then all samples at once."""
    with running_server(folder / "data") as server, Wire(server.url, server.new_tenant("A")) as wire:
        _await_worker(wire)
        _freshness(wire, sizes.texts)
        _samples(wire, sizes.samples)


def _await_worker(wire: Wire) -> None:
    """Its start is not what is measured; the first document also loads the model."""
    for number in range(3):
        wire.end_state(wire.upload(f"warm-{number}.txt", _note(-1 - number), content_type="text/plain")[1])


def _note(number: int) -> bytes:
    """A text of some sixty words that no other one repeats, so that no vector is found in the cache."""
    words = (
        "valve",
        "pump",
        "pressure",
        "report",
        "tank",
        "check",
        "meter",
        "loop",
        "filter",
        "season",
        "sensor",
        "line",
    )
    chosen = random.Random(number)
    return f"Note {number}: {' '.join(chosen.choice(words) for _ in range(60))}.".encode()


def _freshness(wire: Wire, count: int) -> None:
    acknowledged, seen, indexed = Durations(), Durations(), Durations()
    before = stages(wire, "s4_pipeline_stage_duration_seconds")
    for number in range(count):
        seconds, document_id = wire.upload(f"note-{number}.txt", _note(number), content_type="text/plain")
        acknowledged.add(seconds)
        started = time.perf_counter()
        document = wire.end_state(document_id)
        seen.add(time.perf_counter() - started)
        if document["status"] != "ready":
            raise RuntimeError(f"A small text could not be indexed: {document['error']}")
        indexed.add(_seconds_between(document["uploaded_at"], document["indexed_at"]))
    spent = between(before, stages(wire, "s4_pipeline_stage_duration_seconds"))
    print_heading("Acknowledged to searchable, ms")
    print_text(
        "Texts of sixty words, one at a time; embedded mode with its worker and the bundled model, default settings.\n"
        "“Committed to searchable” is `indexed_at` less `uploaded_at`; “seen” is what a client sees that waits by\n"
        "`GET /documents/{id}?wait=60`. An idle worker looks for work every 200 ms.\n"
    )
    rows = [
        [name, str(times.count), *times.milliseconds]
        for name, times in (
            ("upload to acknowledged", acknowledged),
            ("committed to searchable", indexed),
            ("acknowledged to seen searchable", seen),
        )
    ]
    print_table(["", *DURATION_COLUMNS], rows)
    p95_seconds = indexed.quantile(0.95)
    print_text(
        f"Target {'kept' if p95_seconds <= FRESHNESS_SECONDS_MAX else 'MISSED'}: p95 from committed to searchable\n"
        f"{p95_seconds:.2f} s (at most {FRESHNESS_SECONDS_MAX:.0f} s on an idle machine). Load {load()}.\n"
    )
    print_text("Of that, in the stages of the pipeline (mean): " + ", ".join(
        f"{stage} {spent[stage].mean_milliseconds:.1f}" for stage in STAGES if stage in spent
    ) + ".")  # fmt: skip


def _seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def _samples(wire: Wire, count: int | None) -> None:
    before = stages(wire, "s4_pipeline_stage_duration_seconds")
    started = time.perf_counter()
    ids = [
        wire.upload(path.name, path.read_bytes(), content_type=BINARY)[1] for path in sorted(SAMPLES.iterdir())[:count]
    ]
    documents = [wire.end_state(document_id) for document_id in ids]
    seconds = time.perf_counter() - started
    spent = between(before, stages(wire, "s4_pipeline_stage_duration_seconds"))
    ready = [document for document in documents if document["status"] == "ready"]
    chunks = sum(document["chunks"] for document in ready)
    print_heading("Stages of the pipeline, ms")
    print_text(
        f"{len(documents)} files of samples/documents, all at once: {len(ready)} ready with {chunks} chunks in "
        f"{seconds:.1f} s ({chunks / seconds:.1f} chunks/s).\nStages of several documents overlap and share the "
        "cores; one write or publish may hold several documents.\n"
    )
    rows = [
        [stage, f"{spent[stage].count:.0f}", f"{spent[stage].mean_milliseconds:.1f}", f"{spent[stage].seconds:.2f}"]
        for stage in STAGES
        if stage in spent
    ]
    print_table(["stage", "times", "mean ms", "total s"], rows)
