"""The store, the embedding provider, backups and the second region."""

import asyncio
import time
from dataclasses import replace
from statistics import median

from s4.domains.maintenance.deployment import require_pair
from s4.domains.upkeep import queries
from s4.domains.upkeep.queries.index import Table
from s4.engine.vectors import inspect, manifest_name
from s4.entrypoints.connections import embedding as ask_embedding
from s4.entrypoints.connections import explained, words
from s4.entrypoints.doctor.report import Check, Verdict, failed, ok, unknown, warning
from s4.entrypoints.doctor.store import examine
from s4.entrypoints.doctor.store.bench import open_bench
from s4.entrypoints.doctor.whole.bedside import NO_CATALOG, STORE, Away, Bedside
from s4.entrypoints.upgrade.check import index as generation
from s4.kernel import keys
from s4.kernel.errors import Conflict, DataCorrupt, S4Error
from s4.platform.objects import ObjectMissing, ObjectStore, StoreUnavailable

_PROBES = 5
_SLOW_SECONDS, _TOO_SLOW_SECONDS = 0.25, 2.0  # S3 within its region writes a small object in some 30 to 100 ms
_TABLES_LOOKED_AT = 50
_PARALLEL = 8
_LATE_TIMES = 2


async def store(bedside: Bedside) -> list[Check]:
    """All that `s4 doctor store` tries, each check under `store.`."""
    try:
        await bedside.store()
    except Away as away:
        if away.dependency is not None:
            return [_store_gone(bedside, away)]
    try:
        async with asyncio.timeout(bedside.patience.store):
            report = await examine(bedside.loaded)
    except TimeoutError:
        slow = unknown(
            "store", f"What S4 needs of the store could not all be tried within {bedside.patience.store:g} s.",
            "Let `s4 doctor store` take its time.", needed=False,
        )  # fmt: skip
        return [replace(slow, cause=STORE)]
    checks = [replace(check, name=f"store.{check.name}", cause=_cause(check)) for check in report.checks]
    if report.left:
        checks.append(
            warning("store.left", f"Probes were left behind: {', '.join(report.left)}.", "Remove them.", cause=STORE)
        )
    return checks


def _cause(check: Check) -> str | None:
    if check.verdict not in (Verdict.FAILED, Verdict.WARNING):
        return None
    return check.cause or {"backups": "backups", "clock": "clock of this machine, or the store's"}.get(
        check.name, STORE
    )


def _store_gone(bedside: Bedside, away: Away) -> Check:
    """In the store's own words, if it has any."""
    error = away.__cause__
    said = explained(error) if isinstance(error, S4Error) else f"no answer within {bedside.patience.alive:g} s."
    more = " ".join(words(error.__cause__)) if error is not None else ""
    return failed(
        STORE.replace(" ", "_"), f"The store does not answer: {said} {more}".rstrip(),
        "`s4 doctor store` says what to mend. Meanwhile writes are answered 503, and what is cached is served.",
        cause=STORE,
    )  # fmt: skip


async def pair(bedside: Bedside) -> list[Check]:
    """Whether the store is that of the catalog: neither a wrong place nor a disk that is not there."""
    name = "store.deployment"
    try:
        async with bedside.catalog():
            pass
    except Away as away:
        if away.dependency == NO_CATALOG:
            return []
        raise
    try:
        store = await bedside.store()
    except Away as away:
        if away.dependency is not None:
            raise
        said = f"There is nothing at {bedside.settings.store_url}, and the catalog has a deployment there."
        return [failed(name, said, "See whether its disk is mounted, and S4_STORE_URL.", cause=STORE)]
    try:
        await require_pair(bedside.database, store)
    except (Conflict, DataCorrupt) as error:
        advice = "Until then no process starts on it. S4_STORE_URL and S4_DATABASE_URL name the two."
        return [failed(name, error.message, advice, cause=STORE)]
    return [ok(name, "It is the store of this catalog.")]


async def latency(bedside: Bedside) -> list[Check]:
    """Of small objects, one after the other, as a commit writes its head."""
    await bedside.store()
    return [await _latency(bedside)]


async def _latency(bedside: Bedside) -> Check:
    name = "store.latency"
    seconds: dict[str, list[float]] = {"write": [], "read": [], "delete": []}
    async with open_bench(bedside.settings) as bench:
        try:
            async with asyncio.timeout(bedside.patience.part):
                for number in range(_PROBES):
                    key = bench.key(f"latency-{number}")
                    for what, attempt in (
                        ("write", bench.store.put(key, bench.data("latency"))),
                        ("read", bench.store.get(key)),
                        ("delete", bench.store.delete([key])),
                    ):
                        started = time.perf_counter()
                        await attempt
                        seconds[what].append(time.perf_counter() - started)
        except TimeoutError:
            return failed(
                name, f"{_PROBES} small objects could not be written, read and deleted within "
                f"{bedside.patience.part:g} s.", "Look at the way to the store, and at its load.", cause=STORE,
            )  # fmt: skip
        except StoreUnavailable as error:
            return unknown(name, explained(error), "Mend what is named under `store`, then run this again.")
        finally:
            await asyncio.shield(asyncio.ensure_future(bench.clear()))
    middle = {what: median(each) for what, each in seconds.items()}
    said = ", ".join(f"{what} {each * 1000:.0f} ms" for what, each in middle.items())
    slowest = max(middle.values())
    if slowest < _SLOW_SECONDS:
        return ok(name, f"A small object: {said}.")
    judge = failed if slowest >= _TOO_SLOW_SECONDS else warning
    return judge(
        name,
        f"The store is slow. A small object: {said}; an upload needs four such requests, one after the other.",
        "See whether the bucket lies in this region, at the way there, and at the store's own load.",
        cause=STORE,
    )


async def embedding(bedside: Bedside) -> list[Check]:
    provider = f"embedding provider {bedside.settings.embedding_provider.value}"
    name = "embedding"
    try:
        answered = ok(name, await ask_embedding(bedside.settings))
    except Exception as error:  # a library's own, too: whatever it was, the provider does not embed
        said = error.message if isinstance(error, S4Error) else " ".join(words(error))
        more = " ".join(words(error.__cause__))
        return [
            failed(
                name,
                f"The provider does not embed: {said} {more}".rstrip(),
                "Look at S4_EMBEDDING_BASE_URL, its key and the provider's status. Meanwhile documents wait, and "
                "searches answer from keywords.",
                cause=provider,
            )
        ]
    try:
        async with bedside.any_catalog():  # which is opened once more, and waited for
            pass
    except Away:
        return [answered]
    other = await generation(bedside.settings)
    return [
        answered,
        replace(other, name="embedding.index", cause=provider if other.verdict is not Verdict.OK else None),
    ]


async def files(bedside: Bedside) -> list[Check]:
    """The newest tables against what was recorded at their commits: two requests each, no more than some."""
    name = "index.files"
    store = await bedside.store()
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        used = await queries.index.used(connection, now)
        tables = [table for table in await queries.index.tables(connection, used) if table.version > 0]
    looked_at = sorted(tables, key=lambda each: each.checked_at or now, reverse=False)[:_TABLES_LOOKED_AT]
    gate = asyncio.Semaphore(_PARALLEL)

    async def look(table: Table) -> list[str]:
        async with gate:
            return await _damaged(bedside, store, table)

    found = await asyncio.gather(*map(look, looked_at))
    damaged = [(table, names) for table, names in zip(looked_at, found, strict=True) if names]
    if not damaged:
        return [ok(name, f"The files of {len(looked_at)} of {len(tables)} tables are what was committed.")]
    async with bedside.catalog() as connection:
        names = await bedside.names(connection, [table.tenant_id for table, _ in damaged])
    return [
        failed(
            name,
            f"The index of {names[table.tenant_id]} is damaged: {', '.join(wrong[:3])} of {table.files} files are "
            "gone or changed.",
            "A worker makes it anew when it looks: s4 schedule run maintenance.check. Find out who deletes or changes "
            "objects below indices/.",
            cause=names[table.tenant_id],
        )
        for table, wrong in damaged
    ]


async def _damaged(bedside: Bedside, store: ObjectStore, table: Table) -> list[str]:
    """Names of files that two looks at one version find wrong: a commit or a clean-up may come between."""
    before: list[str] = []
    for _ in range(2):
        async with bedside.catalog() as connection:
            found = await queries.index.described(connection, table.tenant_id, table.generation_id)
        if found is None or found[0].version == 0:
            return []
        now, recorded = found
        prefix = keys.generation(now.tenant_id, now.generation_id, now.incarnation)
        try:
            wrong = list((await inspect(store, prefix, now.version, recorded)).damaged)
        except ObjectMissing:
            wrong = [manifest_name(now.version)]
        if not wrong:
            return []
        before = wrong
    return before
