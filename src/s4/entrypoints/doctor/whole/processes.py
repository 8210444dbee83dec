"""Running processes, asked at the addresses that were named: whether they serve, and what their metrics say."""

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from s4 import __version__
from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.kernel.settings import Settings
from s4.kernel.units import human_size
from s4.platform.objects import StoreFault

_SECONDS_MAX = 10.0
_MEMORY_WARNED, _MEMORY_FAILED = 0.9, 0.97
_ERRORS_WARNED = 0.05  # of requests to the store
_ERRORS_MIN = 20
_COPIES_MIN = 100
_ILL = frozenset(fault.value for fault in StoreFault)


@dataclass
class Process:
    """What one said. `problem`: why it said nothing. `samples`: name and labels to value."""

    address: str
    problem: str | None = None
    is_api: bool = False
    health: dict[str, object] = field(default_factory=dict)
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)
    refusals: list[tuple[str, int]] = field(default_factory=list)
    """Routes that were asked without a key, and what they answered."""

    @property
    def dependencies(self) -> dict[str, str]:
        """As readiness named them."""
        found = self.health.get("dependencies")
        return found if isinstance(found, dict) else {}

    def of(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Samples with at least these labels."""
        for found, said, value in self.samples:
            if found == name and labels.items() <= said.items():
                yield said, value

    def total(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.of(name, **labels))


_GUARDED = ("/api/v1/documents", "/api/v1/profile", "/api/v1/usage", "/api/v1/admin/tenants", "/api/v1/admin/audit")
"""Asked without a key, each must refuse."""


async def ask(address: str, settings: Settings) -> Process:
    """Never raises."""
    process = Process(address.rstrip("/"))
    token = settings.metrics_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token is not None else {}
    context = ssl.create_default_context(cafile=settings.ca_file)
    try:
        async with httpx.AsyncClient(
            base_url=process.address, timeout=_SECONDS_MAX, verify=context, trust_env=False
        ) as http:
            await _ask(http, process, headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        process.problem = f"{type(error).__name__}: {error}".rstrip(": ")
    return process


async def _ask(http: httpx.AsyncClient, process: Process, headers: dict[str, str]) -> None:
    ready = await http.get("/health/ready")
    if ready.headers.get("content-type", "").startswith("application/json"):
        process.health = _object(ready)
    scraped = await http.get("/metrics", headers=headers)
    if scraped.status_code != 200:
        process.problem = f"/metrics answers {scraped.status_code}"
        return
    for family in text_string_to_metric_families(scraped.text):
        process.samples += [(sample.name, sample.labels, sample.value) for sample in family.samples]
    about = await http.get("/")
    process.is_api = about.status_code == 200 and _object(about).get("name") == "S4"
    if process.is_api:
        for path in _GUARDED:
            answer = await http.get(path)
            process.refusals.append((path, answer.status_code))


def _object(answer: httpx.Response) -> dict[str, object]:
    """Raises `ValueError`: what answers may be anything."""
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError(f"{answer.url.path} answers no JSON object")
    return found


def judged(processes: Sequence[Process]) -> list[Check]:
    """One line of each thing that is wrong with one of them, and one for all that are well."""
    checks = [check for process in processes for check in _one(process)]
    versions = {
        labels["version"]: process.address for process in processes for labels, _ in process.of("s4_build_info")
    }
    if len(versions | {__version__: ""}) > 1:
        others = ", ".join(f"{version} at {address}" for version, address in versions.items())
        checks.append(
            warning(
                "processes.versions",
                f"This is S4 {__version__}, and there is {others}.",
                "Fine while releases are being replaced; otherwise replace what was left: docs/guide/upgrading.md.",
            )
        )
    if processes and not checks:
        checks.append(ok("processes", f"{len(processes)} answer and serve."))
    return checks


def whose_worker_starts(processes: Sequence[Process]) -> str | None:
    """The first whose worker takes no jobs yet."""
    starting = (each.address for each in processes if each.dependencies.get("worker") == "starting")
    return next(starting, None)


def _one(process: Process) -> Iterator[Check]:
    where = f"the process at {process.address}"
    if process.problem is not None:
        yield failed(
            "processes.answers",
            f"{process.address} does not answer as a process of S4 does ({process.problem}).",
            "See whether it runs, and what its log says; with S4_METRICS_TOKEN set, set the same here.",
            cause=where,
        )
        return
    status = process.health.get("status")
    if status not in ("ready", "draining"):
        said = ", ".join(f"{name} {state}" for name, state in process.dependencies.items() if state != "ok")
        yield warning(
            "processes.ready", f"{process.address} is {status}: {said or 'it names no dependency'}.",
            "Mend the dependency that is named.", cause=where,
        )  # fmt: skip
    yield from _memory(process, where)
    yield from _dependencies(process)
    yield from _saturation(process, where)


def _memory(process: Process, where: str) -> Iterator[Check]:
    limits = {labels.get("process"): value for labels, value in process.of("s4_memory_limit_bytes")}
    for labels, used in process.of("s4_cgroup_memory_bytes", kind="working_set"):
        limit = limits.get(labels.get("process"), 0.0)
        if limit and used >= _MEMORY_WARNED * limit:
            judge = failed if used >= _MEMORY_FAILED * limit else warning
            yield judge(
                "processes.memory",
                f"{process.address} uses {human_size(int(used))} of {human_size(int(limit))}: at the limit the kernel "
                "ends it.",
                "Give it more memory, or lower what `s4 config check` names; docs/guide/operations.md.",
                cause=where,
            )
            return  # processes of one control group say the same
    for _, kills in process.of("s4_cgroup_oom_kills_total"):
        if kills:
            yield warning(
                "processes.killed",
                f"The kernel has ended {kills:g} processes in the control group of {process.address} for want of "
                "memory.",
                "Give it more memory, or lower S4_EXTRACTION_MEMORY_BYTES and S4_INDEX_CACHE_BYTES.",
                cause=where,
            )
            return


def _dependencies(process: Process) -> Iterator[Check]:
    for labels, value in process.of("s4_embedding_breaker_open"):
        if value:
            provider = labels.get("provider", "")
            yield warning(
                "processes.breaker",
                f"{process.address} leaves the embedding provider {provider} alone, because it was not well: documents "
                "wait, searches answer from keywords.",
                "The log's `embedding.provider_not_well` says why; it is asked again by itself.",
                cause=f"embedding provider {provider}",
            )
            break
    asked = process.total("s4_store_requests_total")
    ill = [each for each in process.of("s4_store_requests_total") if each[0].get("outcome") in _ILL]
    failures = sum(value for _, value in ill)
    if asked >= _ERRORS_MIN and failures > _ERRORS_WARNED * asked:
        worst, _ = max(ill, key=lambda each: each[1])
        yield warning(
            "processes.store_errors",
            f"Of the requests of {process.address} to the store {failures / asked:.0%} failed since its start, "
            f"most of them {worst.get('operation')} ({worst.get('outcome')}).",
            "Look at the store's own log and limits; `s4 doctor store` tries each operation.",
            cause="object store",
        )
    if any(value for _, value in process.of("s4_rate_limits_alone")):
        yield warning(
            "processes.redis",
            f"{process.address} limits rates by itself: Redis does not answer it, and a tenant has its rate in each "
            "process.",
            "Look at Redis and at the way to it.",
            cause="redis",
        )


def _saturation(process: Process, where: str) -> Iterator[Check]:
    for labels, waiting in process.of("s4_database_pool_waiting"):
        if waiting:
            yield warning(
                "processes.pool",
                f"{waiting:g} transactions of {process.address} wait for a connection ({labels.get('pool')}).",
                "If it stays so, raise S4_DATABASE_POOL_SIZE within what the server allows.",
                cause=where,
            )
            break
    for labels, waiting in process.of("s4_http_places_waiting"):
        if waiting:
            yield warning(
                "processes.places",
                f"{waiting:g} requests ({labels.get('load')}) wait at {process.address} for a place.",
                "If it stays so, add replicas; `processes.places` of one load alone: docs/guide/operations.md.",
                cause=where,
            )
            break
    found = {labels.get("outcome"): value for labels, value in process.of("s4_index_copies_total")}
    far, near = found.get("store", 0.0), found.get("hit", 0.0)
    if far + near >= _COPIES_MIN and far > near and found.get("evicted"):
        yield warning(
            "processes.copies",
            f"Of the searches of {process.address} {far / (far + near):.0%} read the bucket, and copies are evicted.",
            "Raise S4_INDEX_COPIES_BYTES, if the disk has room.",
            cause=where,
        )


def isolation(processes: Sequence[Process]) -> list[Check]:
    """That nobody is let in without a key."""
    name = "isolation.refusals"
    apis = [process for process in processes if process.is_api]
    open_doors = [
        f"{process.address}{path} answered {status}"
        for process in apis
        for path, status in process.refusals
        if status not in (401, 429) and status < 500
    ]
    troubled = [f"{process.address}{path}" for process in apis for path, status in process.refusals if status >= 500]
    if open_doors:
        return [
            failed(name, f"Without a key, {'; '.join(open_doors)}.", "Stop it, then run `s4 verify-isolation`.",
                   cause="isolation")
        ]  # fmt: skip
    if troubled:
        return [
            unknown(name, f"Asked without a key, {', '.join(troubled)} had an error instead of an answer.",
                    "Mend what else is wrong, then run this again.", needed=False)
        ]  # fmt: skip
    if not apis:
        return [
            unknown(name, f"{'None of those named' if processes else 'No API'} was asked without a key.",
                    "Name an API that answers: --process http://127.0.0.1:8000", needed=False)
        ]  # fmt: skip
    return [ok(name, f"{len(apis)} APIs refuse who shows no key, on {len(_GUARDED)} routes each.")]
