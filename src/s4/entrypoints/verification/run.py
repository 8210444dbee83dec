"""The order of the checks."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from s4 import __version__
from s4.entrypoints.verification import bucket
from s4.entrypoints.verification.callers import CannotVerify
from s4.entrypoints.verification.checks import beside, credentials, strangers
from s4.entrypoints.verification.report import Report
from s4.entrypoints.verification.scene import Scene
from s4.kernel.clock import rfc3339
from s4.kernel.settings import Settings

_TIMEOUT_SECONDS = 120.0  # a semantic search over a slow provider

Check = Callable[[Scene, Report], None]

CHECKS: tuple[Check, ...] = (
    credentials.routes_are_known,
    beside.timing,  # before so many wrong keys that guesses are throttled
    credentials.wrong_credentials,
    credentials.missing_scopes,
    credentials.ended_keys,
    credentials.suspended,
    credentials.administrators,
    strangers.anothers_ids,
    strangers.conditions,
    beside.anothers_key,
    beside.bulk_deletion,
    beside.idempotency,
    beside.lists,
    beside.searches,
    strangers.every_byte,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which deployment. `plan_id`: of the synthetic tenants; the widest there is, if absent."""

    url: str
    admin_key: str = field(repr=False)
    ca_file: Path | None = None
    plan_id: str | None = None


def verify(target: Target, *, checks: Sequence[Check] = CHECKS, store: Settings | None = None) -> Report:
    """Makes the synthetic tenants, runs `checks` in order, removes the tenants. `store`: settings that lead to the
    deployment's bucket, whose objects are looked at too. Raises `CannotVerify`."""
    context = ssl.create_default_context(cafile=target.ca_file)
    report = Report(target.url, "unknown", __version__, _now())
    with httpx.Client(base_url=target.url, timeout=_TIMEOUT_SECONDS, verify=context) as http:
        try:
            scene = Scene(http, target.admin_key, target.plan_id)
            try:
                _run(scene, report, [*checks, bucket.objects(store)] if store is not None else checks)
            finally:
                scene.clear(report)
        except httpx.HTTPError as error:
            raise CannotVerify(f"{target.url} does not answer: {error}.") from error
    report.ended_at = _now()
    return report


def _run(scene: Scene, report: Report, checks: Sequence[Check]) -> None:
    report.version = str(scene.openapi.get("info", {}).get("version", "unknown"))
    report.routes = [(route.name, str(route.permission)) for route in scene.matrix.routes]
    scene.populate()
    for check in checks:
        try:
            check(scene, report)
        except (CannotVerify, httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            # What was found so far stands; the others may find more.
            report.checks[-1].gaps.append(f"cut short by {type(error).__name__}: {error}")
    report.tenants = {letter: f"{tenant.id} ({tenant.name})" for letter, tenant in scene.made.items()}
    report.headers_ignored = sorted(scene.comparison.ignored)


def _now() -> str:
    return rfc3339(datetime.now(UTC))
