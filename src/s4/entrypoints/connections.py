"""What `s4 config check --connect` finds: each thing that S4 depends on, opened as at a start and asked once.

Nothing is migrated, minted or made: a database or directory that the first start will make is said to be missing, which
is no fault. The store is written to, one small object that is removed again: only so does it show whether it keeps two
writers apart.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from s4.entrypoints.bootstrap import database_url, make_embedder
from s4.entrypoints.configuration import Configuration, unknown_sentence
from s4.entrypoints.fitting import misfits
from s4.kernel.errors import S4Error
from s4.kernel.settings import Environment, Settings
from s4.platform import faults, trust
from s4.platform.database import is_there, migrate, open_database
from s4.platform.objects import NO_CONDITIONS, StoreUnavailable, open_store
from s4.platform.telemetry.logs import redact
from s4.platform.trust import trusting

_WORDS_CHARS_MAX = 300  # the store's library tells its whole history of attempts


@dataclass(frozen=True, slots=True)
class Finding:
    """One dependency, and a sentence about it."""

    dependency: str
    works: bool
    message: str


def doubts(loaded: Configuration) -> tuple[list[str], list[str]]:
    """Sentences about what is wrong with settings, and about what may go wrong. Asks nobody."""
    problems = [unknown_sentence(name, nearest) for name, nearest in loaded.unknown.items()]
    settings = loaded.settings
    for look_at in (
        lambda: faults.parse(settings.failpoints),
        lambda: trust.check_authorities(settings.ca_file),
        lambda: trust.check_listener(settings.tls_cert, settings.tls_key),
    ):
        try:
            look_at()
        except (S4Error, ValueError) as error:
            problems.append(str(error))
    return problems, list(misfits(settings))


async def look(settings: Settings, *, within: timedelta) -> list[Finding]:
    """All of them at once, each for at most `within`."""
    looks = {"database": _database, "object_store": _store, "embedding": embedding}
    with trusting(settings.ca_file):
        return list(await asyncio.gather(*(_bounded(name, ask, settings, within) for name, ask in looks.items())))


async def _bounded(
    dependency: str, ask: Callable[[Settings], Awaitable[str]], settings: Settings, within: timedelta
) -> Finding:
    try:
        async with asyncio.timeout(within.total_seconds()):
            return Finding(dependency, True, await ask(settings))
    except TimeoutError:
        return Finding(dependency, False, f"No answer within {within.total_seconds():g} s.")
    except S4Error as error:
        return Finding(dependency, False, " ".join([explained(error), *words(error.__cause__)]))
    except Exception as error:  # a driver's own, about what it was told: its words help, a trace does not
        return Finding(dependency, False, " ".join(words(error)))


def explained(error: S4Error) -> str:
    """Its message; of the store's also the store's code, and where to learn what to do."""
    if not isinstance(error, StoreUnavailable):
        return error.message
    code = error.details.get("code")
    said = f"{error.message.rstrip('.')} ({code})." if code is not None else error.message
    return f"{said} `s4 doctor store` says what to mend."


def words(error: BaseException | None) -> list[str]:
    """What a library said, in one line of bearable length."""
    lines = redact(str(error)).strip().splitlines() if error is not None else []
    return [f"({type(error).__name__}: {lines[0][:_WORDS_CHARS_MAX]})"] if lines else []


async def _database(settings: Settings) -> str:
    url = database_url(settings)
    if not is_there(url):
        return "No database yet: the first start makes it."
    database = open_database(url, pool_size=1, timeout_seconds=settings.database_timeout_seconds)
    try:
        async with database.read() as connection:
            name = await connection.run_sync(migrate.server_name)
            lacks_steps = await connection.run_sync(migrate.lacks_steps)
    finally:
        await database.aclose()
    if not lacks_steps:
        return f"{name} answers, and its schema is this release's."
    if settings.environment is Environment.EMBEDDED:
        return f"{name} answers; `s4 serve` will bring its schema to this release."
    raise S4Error(f"{name} answers, but its schema is not this release's: run `s4 migrate`.")


async def _store(settings: Settings) -> str:
    assert settings.store_url is not None, "read_configuration fills it in"
    url = urlsplit(settings.store_url)
    if url.scheme == "file" and not _exists(unquote(url.path)):
        return "No directory of objects yet: the first start makes it."
    store = open_store(settings)
    try:
        if not (await store.probe()).create_if_absent:
            raise S4Error(NO_CONDITIONS)
    finally:
        await store.aclose()
    return "The store answers, and keeps two writers apart."


def _exists(path: str) -> bool:
    return Path(path).exists()


async def embedding(settings: Settings) -> str:
    """Has a sentence embedded, and says what answered. Raises as the embedder does."""
    embedder = make_embedder(settings)
    try:
        await embedder.prepare()
        await embedder.embed_query("Does it answer?")
        return f"The {settings.embedding_provider.value} provider embeds: {embedder.dimension} dimensions."
    finally:
        await embedder.aclose()
