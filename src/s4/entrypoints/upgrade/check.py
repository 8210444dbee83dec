"""What an upgrade would meet. Nothing is changed: no step of the schema is run, nothing is written to the bucket."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from s4 import __version__
from s4.domains.indexing.queries import uses
from s4.entrypoints.bootstrap import database_url, place_settings
from s4.entrypoints.bootstrap.parts import make_own_model
from s4.entrypoints.configuration import Configuration, unknown_sentence
from s4.entrypoints.connections import explained
from s4.entrypoints.doctor.report import Check, Report, failed, ok, unknown, warning
from s4.entrypoints.fitting import misfits
from s4.entrypoints.upgrade.formats import format_of, read_object
from s4.kernel import keys
from s4.kernel.errors import Conflict, S4Error
from s4.kernel.ids import GenerationId
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.settings import EmbeddingProvider, Settings
from s4.platform.background import side_by_side
from s4.platform.database import is_there, migrate, open_database
from s4.platform.objects import ObjectMissing, ObjectStore, open_store
from s4.platform.trust import trusting

_PER_FORMAT = 200  # objects of each format that are read, the first and then every so-manieth; all of them on demand
_PARALLEL = 16
_NAMED_MAX = 5  # objects that a sentence names


async def check(loaded: Configuration, *, every_object: bool = False) -> Report:
    """Settings, schema, formats, backups and index, in this order. `every_object`: reads all of the bucket instead of a
    sample."""
    settings = loaded.settings
    with trusting(settings.ca_file):
        checks = [_settings(loaded), _schema(settings), await _formats(settings, every_object=every_object)]
        checks.append(await _backups(settings, every_object=every_object))
        checks.append(await index(settings))
    return Report(f"S4 {__version__}, on what is there", tuple(checks))


def _settings(loaded: Configuration) -> Check:
    name = "settings"
    doubts = [unknown_sentence(variable, nearest) for variable, nearest in loaded.unknown.items()]
    doubts += misfits(loaded.settings)
    if doubts:
        return warning(name, " ".join(doubts), "Correct them before the first process of this release starts.")
    return ok(name, "This release knows every setting that is given.")


def _schema(settings: Settings) -> Check:
    name = "schema"
    url = database_url(settings)
    if not is_there(url):
        return ok(name, "There is no catalog yet; the first start makes it.")
    try:
        missing = migrate.missing(url)
    except Conflict as error:
        return failed(
            name, error.message, "Start the newer release, or an empty database: the bucket rebuilds the catalog."
        )
    except S4Error as error:
        return unknown(name, error.message, "Make the database answer, then run this again.")
    pre = [step.revision for step in missing if not step.is_post]
    post = [step.revision for step in missing if step.is_post]
    if not missing:
        return ok(name, "The catalog's schema is this release's.")
    said = f"{len(missing)} steps are to be run: {', '.join([*pre, *post])}."
    if post:
        return warning(
            name,
            f"{said} After {post[0]} the release before does not start any more.",
            "Run `s4 migrate --pre`, replace every process, then `s4 migrate`. Keep a backup until then.",
        )
    return ok(name, f"{said} The release before goes on working on them, so that the way back is open.")


def _exists(path: str) -> bool:
    return Path(path).exists()


@dataclass(slots=True)
class _Seen:
    """Of one listing of the bucket."""

    listed: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    unreadable: dict[ObjectKey, str] = field(default_factory=dict)
    unknown: list[ObjectKey] = field(default_factory=list)


async def _formats(settings: Settings, *, every_object: bool) -> Check:
    """Of the store; of its backups, too, where they lie in it."""
    return await _in_store(
        "formats",
        settings,
        keys.EVERYTHING,
        every_object=every_object,
        mended="If they are damaged, take them from a backup.",
    )


async def _backups(settings: Settings, *, every_object: bool) -> Check:
    name = "backups"
    place = place_settings(settings)
    if place.store_url == settings.store_url:
        return ok(name, "They lie in the store: what `formats` says holds for them, too.")
    mended = "If they are damaged, `s4 backup create --anew` makes one that shares nothing with them."
    return await _in_store(name, place, keys.BACKUPS, every_object=every_object, mended=mended)


async def _in_store(name: str, settings: Settings, below: ObjectPrefix, *, every_object: bool, mended: str) -> Check:
    """`settings` name the store, `mended` is what to do about damage."""
    assert settings.store_url is not None, "read_configuration fills it in"
    url = urlsplit(settings.store_url)
    if url.scheme == "file" and not _exists(unquote(url.path)):
        return ok(name, "There are no objects yet; the first start makes their place.")
    try:
        store = open_store(settings)
    except S4Error as error:
        return unknown(name, explained(error), "Make the store answer, then run this again.")
    try:
        seen = await _look(store, below, every_object=every_object)
    except S4Error as error:
        return unknown(name, explained(error), "Make the store answer, then run this again.")
    finally:
        await store.aclose()
    if seen.unreadable:
        some = [f"{key}: {said}" for key, said in list(seen.unreadable.items())[:_NAMED_MAX]]
        return failed(
            name,
            f"{len(seen.unreadable)} objects cannot be read by this release. {' '.join(some)}",
            f"If a newer release wrote them, start that one. {mended}",
        )
    read = ", ".join(f"{seen.read[each]} of {seen.listed[each]} {each}" for each in sorted(seen.listed))
    if seen.unknown:
        return warning(
            name,
            f"Read: {read}. {len(seen.unknown)} objects have keys that this release does not know, among them "
            f"{', '.join(seen.unknown[:_NAMED_MAX])}.",
            "A newer release, or another program, put them there. This one leaves them alone.",
        )
    return ok(name, f"Read: {read}." if read else "There is nothing to read.")


async def _look(store: ObjectStore, below: ObjectPrefix, *, every_object: bool) -> _Seen:
    seen = _Seen()

    async def read(chosen: tuple[ObjectKey, str]) -> None:
        key, name = chosen
        with suppress(ObjectMissing):  # pruned meanwhile
            problem = read_object(key, await store.get(key))
            seen.read[name] += 1
            if problem is not None:
                seen.unreadable[key] = problem

    await side_by_side(_chosen(store, below, seen, every_object=every_object), read, at_once=_PARALLEL)
    return seen


async def _chosen(
    store: ObjectStore, below: ObjectPrefix, seen: _Seen, *, every_object: bool
) -> AsyncIterator[tuple[ObjectKey, str]]:
    """Objects to read, with the name of their format. Ids are random, so the first by key are a fair sample; rarer as
    they become many."""
    async for info in store.list(below):
        found = format_of(info.key)
        if found is None:
            if keys.parse(info.key) is None:
                seen.unknown.append(info.key)
            continue
        seen.listed[found.name] += 1
        count = seen.listed[found.name]
        if every_object or count <= _PER_FORMAT or count % _PER_FORMAT == 0:
            yield info.key, found.name


async def index(settings: Settings) -> Check:
    """Whether these settings index as what is there was indexed: if not, a generation is built beside it."""
    name = "index"
    url = database_url(settings)
    if not is_there(url):
        return ok(name, "Nothing was indexed yet.")
    if settings.embedding_provider is EmbeddingProvider.OPENAI and settings.embedding_dimension is None:
        return unknown(
            name,
            "How wide the provider's vectors are is learned from its first answer.",
            "Set S4_EMBEDDING_DIMENSION to have it told here.",
            needed=False,
        )
    own = make_own_model(settings)
    database = open_database(url, pool_size=1, timeout_seconds=settings.database_timeout_seconds)
    try:
        await own.embedder.prepare()
        generation = own.generation.id
        if len(migrate.missing(url)) == len(migrate.steps()):
            return ok(name, "Nothing was indexed yet.")
        async with database.read() as connection:
            known = await uses.tables_by_generation(connection)
    except S4Error as error:
        return unknown(name, error.message, "Mend what is named, then run this again.", needed=False)
    finally:
        await database.aclose()
        await own.embedder.aclose()
    return _compared(name, generation, known)


def _compared(name: str, own: GenerationId, known: dict[GenerationId, int]) -> Check:
    if not known or own in known:
        return ok(name, "This release indexes as what is there was indexed; nothing is indexed anew.")
    return warning(
        name,
        f"With these settings this release indexes in another way ({own}): the indices of {sum(known.values())} "
        "tenants are built anew, from kept texts.",
        "Searches of processes with these settings find documents as they are indexed. Let two sets run side by side: "
        "docs/guide/cluster.md.",
    )
