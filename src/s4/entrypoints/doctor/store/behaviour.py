"""What S4 relies on in any store, tried through the same code by which S4 works: `platform/objects`, and the engine."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import numpy as np

from s4.engine.vectors import ChunkRow, VersionGone, chunk_id
from s4.entrypoints.bootstrap import make_vectors
from s4.entrypoints.connections import words
from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.entrypoints.doctor.store.bench import PART_BYTES, Bench, random_bytes, upload_begun
from s4.kernel.errors import DataCorrupt, RangeNotSatisfiable, S4Error
from s4.kernel.units import KIB
from s4.platform.objects import NO_CONDITIONS, CreateOutcome, ObjectMissing, StoreFault, StoreUnavailable

_CREATORS = 8  # at once, of one object: more than ever meet at one head
_RACES = 3
_LISTED = 5
_PARTS = 3
_RANGED_BYTES = 64 * KIB
_DIMENSION = 8
_SECONDS_MAX = 120.0  # of one check: 10 MiB over a slow line, and nothing hangs

_AGAIN = "Run this again; if it says the same, look at the store's own log."


async def conditional_writes(bench: Bench) -> Check:
    """Create-if-absent, and an answer that is lost."""
    name = "conditional_writes"
    if not (await bench.store.probe()).create_if_absent:
        return failed(name, NO_CONDITIONS, "Until then S4 does not start on it.")
    key, data = bench.key("created"), bench.data("created")
    outcomes = [await bench.store.create(key, data, commit_id=None) for _ in range(2)]
    if outcomes != [CreateOutcome.CREATED] * 2:
        return failed(
            name,
            "The second creator is refused, but the first, asking again because its answer was lost, does not find its "
            "own bytes.",
            "Use a store that shows an object to everybody once it is written.",
        )
    return ok(name, "The second creator of an object is refused; one whose answer was lost finds its own bytes.")


async def conditional_race(bench: Bench) -> Check:
    """Many creators of one object at once."""
    name = "conditional_race"
    for race in range(_RACES):
        key = bench.key(f"race-{race}")
        offers = [bench.data(f"creator {number}") for number in range(_CREATORS)]
        outcomes = await asyncio.gather(*(bench.store.create(key, offer, commit_id=None) for offer in offers))
        winners = [offer for offer, outcome in zip(offers, outcomes, strict=True) if outcome is CreateOutcome.CREATED]
        if winners != [await bench.store.get(key)]:
            return failed(
                name,
                f"Of {_CREATORS} creators at once {len(winners)} were told that they won: the store looks and writes "
                "in two steps. " + NO_CONDITIONS,
                "S4's own look at the start finds no races: do not run it on this store.",
            )
    return ok(name, f"Of {_CREATORS} creators at once exactly one wins, {_RACES} times.")


async def list_after_write(bench: Bench) -> Check:
    """A listing is of this moment."""
    name, advice = "list_after_write", "Use a store whose listings are consistent: S4 takes them for the truth."
    expected = []
    for number in range(_LISTED):
        expected.append(bench.key(f"listed/{number}"))
        await bench.store.put(expected[-1], bench.data("listed"))
        if await _listed(bench) != expected:
            return failed(name, "An object that was written is not listed at once.", advice)
    await bench.store.delete(expected[:1])
    if await _listed(bench) != expected[1:]:
        return failed(name, "An object that was deleted is listed still.", advice)
    return ok(name, "What was written is listed at once, in order; what was deleted is not.")


async def _listed(bench: Bench) -> list[str]:
    return [info.key async for info in bench.store.list(bench.place) if "/listed/" in info.key]


async def multipart(bench: Bench) -> Check:
    """Several parts in order, and nothing of an upload that is broken off."""
    name = "multipart"
    data = random_bytes((_PARTS - 1) * PART_BYTES + KIB)
    key, broken_off = bench.key("parts"), bench.key("broken-off")
    async with bench.store.upload(key) as upload:
        await upload.write(data)
        await upload.commit()
    read = hashlib.sha256()
    async for chunk in bench.store.stream(key):
        read.update(chunk)
    if read.digest() != hashlib.sha256(data).digest():
        return failed(name, f"An upload in {_PARTS} parts is read back as other bytes.", "Do not use this store.")
    async with bench.store.upload(broken_off) as upload:
        await upload.write(data[: PART_BYTES + KIB])
    try:
        await bench.store.head(broken_off)
    except ObjectMissing:
        return ok(name, f"{_PARTS} parts become one object with the bytes that were sent; a broken-off upload none.")
    return failed(name, "An upload that was broken off is an object.", "Do not use this store.")


async def abort(bench: Bench) -> Check:
    """The parts of an upload that is broken off are gone. They are seen by nobody, and paid for."""
    name = "abort"
    assert bench.signed is not None
    key = bench.key("aborted")
    begun = await bench.signed.ask("POST", key, query={"uploads": ""})
    upload_id = upload_begun(begun)
    if upload_id is None:
        return unknown(name, f"The store does not begin an upload in parts ({begun.status} {begun.code}).", _AGAIN)
    part = {"partNumber": "1", "uploadId": upload_id}
    await bench.signed.ask("PUT", key, query=part, body=bench.data("part"))
    await bench.signed.ask("DELETE", key, query={"uploadId": upload_id})
    late = await bench.signed.ask("PUT", key, query=part, body=bench.data("late part"))
    if late.status == 404:
        return ok(name, "An upload that was broken off is gone with its parts: a late part is refused.")
    return warning(
        name,
        f"An upload that was broken off still takes parts ({late.status} {late.code}).",
        "Let a lifecycle rule remove unfinished uploads, and watch what the bucket holds.",
    )


async def ranged_reads(bench: Bench) -> Check:
    """Parts of objects, as downloads and the index read them."""
    name, advice = "ranged_reads", "Do not use this store: the index reads by ranges."
    data = random_bytes(_RANGED_BYTES)
    size, key = len(data), bench.key("ranged")
    await bench.store.put(key, data)
    for start, end in ((0, 1), (KIB, 2 * KIB), (size - 1, size), (0, size), (size - KIB, size + KIB)):
        if await bench.store.get_range(key, start, end) != data[start:end]:
            return failed(name, f"Bytes {start} to {end} of {size} are read as other bytes.", advice)
    try:
        await bench.store.get_range(key, size, size + 1)
    except RangeNotSatisfiable:
        return ok(name, "Ranges are read as the bytes that they name; one behind the end is refused.")
    return failed(name, "A range behind an object's end is not refused.", advice)


async def index_table(bench: Bench) -> Check:
    """A table of the engine, which comes to the store by itself: written, compacted, read."""
    name = "index_table"
    vectors = make_vectors(bench.settings, bench.store)
    rows = [_row(number) for number in (1, 2)]
    try:
        writer = await vectors.writer(bench.place, _DIMENSION)
        try:
            for row in rows:
                await writer.apply([row])
            version = (await writer.optimize()).version
        finally:
            await writer.close()
        reader = await vectors.reader(bench.place, version)
        found = [] if reader is None else [row for each in rows for row in await reader.document_rows(each.document_id)]
    except VersionGone:
        found = []
    except S4Error as error:
        return failed(
            name,
            f"LanceDB cannot keep a table in the store: {error.message} {told(error.__cause__)}".rstrip(),
            "If the other checks are ok, LanceDB finds other credentials than S4 does: give S4 its own in its "
            "settings, or leave the environment with one source of them.",
        )
    finally:
        await vectors.close()
    if [row.chunk_id for row in found] != [row.chunk_id for row in rows]:
        return failed(name, "LanceDB does not find again what it wrote.", "Do not use this store.")
    if not [info async for info in bench.store.list(bench.place) if ".lance/" in info.key]:
        return failed(
            name,
            "LanceDB keeps its table elsewhere than S4 keeps its objects.",
            "Compare AWS_* or GOOGLE_* variables of the environment with S4's settings: the engine reads them, too.",
        )
    return ok(name, "LanceDB writes, compacts and reads a table in the same place.")


def _row(number: int) -> ChunkRow:
    document_id = f"doctor-{number}"
    vector = np.eye(_DIMENSION, dtype=np.float32)[number]
    return ChunkRow(chunk_id(document_id, 1, 0), document_id, 1, 0, "A probe.", vector, None, 0, 8, None)


def told(error: BaseException | None) -> str:
    """What a library said, in one line of bearable length."""
    return " ".join(words(error))


async def carried_out(name: str, attempt: Callable[[Bench], Awaitable[Check]], bench: Bench) -> Check:
    """The check, or why it did not come to an end."""
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            return await attempt(bench)
    except TimeoutError:
        return unknown(name, f"Not done within {_SECONDS_MAX:g} s.", _AGAIN)
    except StoreUnavailable as error:
        said = f"{error.message} {_particulars(error)}"
        if error.fault in (StoreFault.TIMEOUT, StoreFault.THROTTLED):
            return unknown(name, said, _AGAIN)
        return failed(name, said, f"Mend what the store says, then run this again. {told(error.__cause__)}".rstrip())
    except (ObjectMissing, RangeNotSatisfiable) as error:
        return failed(name, f"What was just written is not there: {error.message}", "Do not use this store.")
    except DataCorrupt as error:
        return failed(name, error.message, "Do not use this store.")


def _particulars(error: StoreUnavailable) -> str:
    return f"({', '.join(str(error.details[name]) for name in ('operation', 'code') if name in error.details)})"
