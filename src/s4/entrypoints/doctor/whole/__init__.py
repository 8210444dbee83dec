"""`s4 doctor`: a whole deployment, as it runs or does not.

Every part is one function that takes the `Bedside` and answers with checks. All run at once, each with a time limit;
what a part needs and does not have (`Away`) is one line, and the line of the dependency itself says why. Nothing is
changed but the probes that `s4 doctor store` writes and removes.

`catalog`: settings, versions, database, clock. `dependencies`: store, provider, files of the index. `copies`: backups,
second region. `work`: queue and index. `tenants`: quotas, who takes how much, what is worse than it was. `regular`:
schedule, listing of the bucket, audit trail, cache. `machine`: this one; `processes`: those at the addresses that were
named. `isolation`: a small test.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from s4 import __version__
from s4.entrypoints.connections import words
from s4.entrypoints.doctor.report import LIVE, Check, Report, failed, unknown
from s4.entrypoints.doctor.whole import (
    catalog,
    copies,
    dependencies,
    isolation,
    machine,
    processes,
    regular,
    tenants,
    work,
)
from s4.entrypoints.doctor.whole.bedside import Away, Bedside, Patience
from s4.entrypoints.doctor.whole.catalog import Gone
from s4.kernel.errors import S4Error, Unavailable
from s4.platform.objects import StoreUnavailable
from s4.platform.trust import trusting

__all__ = ["PARTS", "Bedside", "Patience", "examine", "unreadable"]

Part = Callable[[Bedside], Awaitable[list[Check]]]

PARTS: dict[str, Part] = {
    "configuration": catalog.configuration,
    "versions": catalog.versions,
    "database": catalog.database,
    "schema": catalog.schema,
    "clock": catalog.clock,
    "redis": catalog.redis,
    "store.latency": dependencies.latency,
    "store": dependencies.store,
    "store.deployment": dependencies.pair,
    "embedding": dependencies.embedding,
    "queue": work.queue,
    "index": work.index,
    "index.files": dependencies.files,
    "quotas": tenants.quotas,
    "contents": regular.contents,
    "tenants": tenants.noisy,
    "degradation": tenants.degradations,
    "cache": regular.cache,
    "schedule": regular.schedule,
    "audit": regular.audit,
    "backups": copies.backups,
    "second_region": copies.second_region,
    "machine.disk": machine.disks,
    "machine.memory": machine.memory,
    "machine.processors": machine.processors,
    "isolation": isolation.bucket,
}
"""In the order in which they are shown."""
_FIRST = ("database", "store.latency", "store.deployment")
"""They measure how long an answer takes, and so want to be alone; and `store` makes, for as long as it looks, the
directory that `store.deployment` looks for."""
_OWN_LIMIT = ("store",)  # parts that bound themselves


async def examine(bedside: Bedside, *, only: Collection[str] = ()) -> Report:
    """Never raises for what is wrong with the deployment. `only`: of `PARTS`, by name, or by what stands
    before the dot; all without."""
    settings = bedside.settings
    parts = {name: part for name, part in PARTS.items() if not only or {name, name.partition(".")[0]} & set(only)}
    with trusting(settings.ca_file):
        asked = asyncio.gather(*(processes.ask(address, settings) for address in bedside.addresses))
        try:
            found: dict[str, tuple[list[Check], str | None]] = {}
            for wave in (_FIRST, PARTS.keys() - set(_FIRST)):
                names = [name for name in parts if name in wave]
                done = await asyncio.gather(*(_carried_out(name, parts[name], bedside) for name in names))
                found |= dict(zip(names, done, strict=True))
            running = await asked
        finally:
            asked.cancel()
            await bedside.aclose()
    checks = [check for name in parts for check in found[name][0]]
    if (address := processes.whose_worker_starts(running)) is not None:
        checks = [work.worker_starts(address) if check.name == work.NO_WORKER else check for check in checks]
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for name in parts:
        if (dependency := found[name][1]) is not None:
            lacking[dependency].append(name)
    checks += processes.judged(running)
    if running or not only:
        checks += processes.isolation(running)
    checks += [_untold(dependency, names) for dependency, names in lacking.items()]
    return Report(f"S4 {__version__} on {settings.store_url}", tuple(checks), sentences=LIVE)


def unreadable(problems: Sequence[str]) -> Report:
    """Of settings from which nothing can be opened."""
    advice = "Correct it; `s4 config check` says the same."
    checks = tuple(failed("configuration", problem, advice, cause="configuration") for problem in problems)
    return Report(f"S4 {__version__}", checks, sentences=LIVE)


async def _carried_out(name: str, part: Part, bedside: Bedside) -> tuple[list[Check], str | None]:
    """What a part found, or what it could not do without."""
    limit = None if name in _OWN_LIMIT else bedside.patience.part
    try:
        async with asyncio.timeout(limit):
            return await part(bedside), None
    except Away as away:
        return [], away.dependency
    except Gone as gone:
        return [gone.check], None
    except TimeoutError:
        said = f"It could not be told within {bedside.patience.part:g} s."
        return [unknown(name, said, "Run this again when there is less to do.", needed=False)], None
    except StoreUnavailable:
        return [], "object store"
    except Unavailable as error:
        dependency = str(error.details.get("dependency", "")) or None
        if dependency is not None:
            return [], dependency
        return [unknown(name, error.message, "Run this again.")], None
    except S4Error as error:
        return [unknown(name, error.message, "Mend what is named, then run this again.")], None
    except Exception as error:  # a defect of a part must not hide what the others found
        said = " ".join(words(error)) or type(error).__name__
        return [unknown(name, f"It could not be told {said}.", "Report this, with the log.")], None


def _untold(dependency: str, names: Sequence[str]) -> Check:
    said = f"Not looked at, because of the {dependency}: {', '.join(names)}."
    check = unknown(f"untold.{dependency.replace(' ', '_')}", said, "Mend that first, then run this again.")
    return replace(check, cause=dependency)
