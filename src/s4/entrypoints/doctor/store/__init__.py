"""`s4 doctor store`: whether S4 can keep its objects where the settings say, before it does.

`actions` is what an identity must be allowed, `identity` who it is; `bucket` what a bucket says of itself; `google` all
of that for Google's storage; `directory` what one needs of a file system; `behaviour` what S4 relies on in any store.
Everything is written to and removed from a `bench`. What cannot be tried since something before it failed is said to be
unknown.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from s4.entrypoints.configuration import Configuration
from s4.entrypoints.doctor.report import Check, Report, Verdict, failed, unknown
from s4.entrypoints.doctor.store import behaviour, bucket, directory, google
from s4.entrypoints.doctor.store.actions import Place, permissions
from s4.entrypoints.doctor.store.actions import policy as policy_of
from s4.entrypoints.doctor.store.backups import backups
from s4.entrypoints.doctor.store.bench import Bench, new_name, open_bench
from s4.entrypoints.doctor.store.identity import identity
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import Settings
from s4.platform.objects import StoreUnavailable
from s4.platform.trust import trusting

__all__ = ["examine", "policy"]

_IN_BUCKETS: dict[str, Callable[[Bench], Awaitable[Check]]] = {
    "conditional_writes": behaviour.conditional_writes,
    "conditional_race": behaviour.conditional_race,
    "list_after_write": behaviour.list_after_write,
    "multipart": behaviour.multipart,
    "abort": behaviour.abort,
    "ranged_reads": behaviour.ranged_reads,
    "index_table": behaviour.index_table,
}
_EVERYWHERE = {name: attempt for name, attempt in _IN_BUCKETS.items() if name != "abort"}


def policy(settings: Settings) -> dict[str, Any] | None:
    """The least-privilege policy or role for the bucket of the settings; None without a bucket."""
    url = urlsplit(settings.store_url or "")
    if url.scheme == "gs":
        return google.role(url.netloc)
    place = _place(settings)
    return policy_of(place) if place is not None else None


async def examine(configuration: Configuration) -> Report:
    """Tries everything, and removes what it wrote also when it is cancelled. Trusts whom S4 trusts."""
    with trusting(configuration.settings.ca_file):
        report = await _examined(configuration)
    return replace(report, checks=(*report.checks, backups(configuration.settings)))


async def _examined(configuration: Configuration) -> Report:
    settings = configuration.settings
    assert settings.store_url is not None, "read_configuration fills it in"
    url = urlsplit(settings.store_url)
    place = _place(settings)
    if place is not None:
        return await _bucket(configuration, place)
    if url.scheme == "gs":
        return await _google(configuration, url.netloc)
    if url.scheme == "file":
        return await _directory(settings, Path(unquote(url.path)))
    async with open_bench(settings) as bench:
        checks, left = await _on(bench, lambda: _behaviour(bench, _EVERYWHERE, checked=[]))
    return Report(settings.store_url, tuple(checks), tuple(left))


def _place(settings: Settings) -> Place | None:
    url = urlsplit(settings.store_url or "")
    if url.scheme != "s3":
        return None
    prefix = url.path.strip("/")
    return Place(url.netloc, f"{prefix}/" if prefix else "", settings.store_region)


async def _bucket(configuration: Configuration, place: Place) -> Report:
    settings = configuration.settings
    subject = f"{settings.store_url} at {settings.store_endpoint or f'AWS, {settings.store_region}'}"

    async def look() -> list[Check]:
        checks: list[Check] = []
        try:
            await _ask(bench, configuration, place, checks)
        except StoreUnavailable as error:  # it answered at first
            checks.append(_gone(error))
        return checks

    async with open_bench(settings) as bench:
        checks, left = await _on(bench, look)
    return Report(subject, tuple(checks), tuple(left))


async def _ask(bench: Bench, configuration: Configuration, place: Place, checks: list[Check]) -> None:
    """Adds to `checks`, one after the other, so that those that were made stand."""
    assert bench.signed is not None
    first, answer = await bucket.answers(bench)
    checks.append(first)
    if answer is not None:
        checks.append(bucket.clock(answer))
        checks.append(await identity(configuration, bench.signed))
    if first.verdict is not Verdict.OK:
        return
    checks += await permissions(bench, place)
    checks += await _behaviour(bench, _IN_BUCKETS, checked=checks)
    versioning, versioned = await bucket.versioning(bench.signed)
    checks += [versioning, await bucket.encryption(bench.signed, configuration.settings.store_encryption)]
    checks.append(await bucket.lifecycle(bench.signed, versioned=versioned))


async def _google(configuration: Configuration, name: str) -> Report:
    settings = configuration.settings
    subject = f"{settings.store_url} at {settings.store_endpoint or 'Google'}"

    async def look() -> list[Check]:
        first, answer = await google.answers(bench)
        checks = [first] if answer is None else [first, bucket.clock(answer, of_google=True)]
        checks.append(await google.identity(configuration))
        if any(check.verdict is Verdict.FAILED for check in checks):
            return checks
        checks += await google.permissions(bench, name)
        checks += await _behaviour(bench, _EVERYWHERE, checked=checks)
        return [*checks, google.unasked(name)]

    try:
        async with open_bench(settings) as bench:
            checks, left = await _on(bench, look)
    except InvalidRequest as error:  # a key that cannot be read
        return Report(subject, (failed("identity", error.message, "Then run this again."),))
    return Report(subject, tuple(checks), tuple(left))


async def _directory(settings: Settings, root: Path) -> Report:
    subject = f"the directory {root}"
    try:
        with directory.standing(root):
            checks = await asyncio.to_thread(directory.examine, root, settings, new_name())
            if any(check.verdict is Verdict.FAILED for check in checks):
                return Report(subject, tuple(checks + _untried(_EVERYWHERE)))
            async with open_bench(settings) as bench:
                more, left = await _on(bench, lambda: _behaviour(bench, _EVERYWHERE, checked=checks))
            return Report(subject, tuple(checks + more), tuple(left))
    except OSError as error:
        return Report(subject, (directory.impossible(root, error), *_untried(_EVERYWHERE)))


async def _on(bench: Bench, look: Callable[[], Awaitable[list[Check]]]) -> tuple[list[Check], list[str]]:
    """Checks, and what of theirs could not be removed."""
    left: list[str] = []
    try:
        return await look(), left
    finally:
        # A task of its own: whoever is being cancelled still cleans up.
        left += await asyncio.shield(asyncio.ensure_future(bench.clear()))


async def _behaviour(
    bench: Bench, attempts: dict[str, Callable[[Bench], Awaitable[Check]]], *, checked: list[Check]
) -> list[Check]:
    """Nothing is tried when something before it failed: it would fail for that reason, and perhaps not clean up."""
    if any(check.verdict is Verdict.FAILED for check in checked):
        return _untried(attempts)
    return [await behaviour.carried_out(name, attempt, bench) for name, attempt in attempts.items()]


def _untried(attempts: dict[str, Callable[[Bench], Awaitable[Check]]]) -> list[Check]:
    advice = "Mend what failed, then run this again."
    return [unknown(name, "Not tried, since something that it needs failed.", advice) for name in attempts]


def _gone(error: StoreUnavailable) -> Check:
    return unknown("answers", f"The store answered at first, then no more: {error.message}", "Run this again.")
