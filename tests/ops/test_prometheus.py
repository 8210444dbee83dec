"""What is shipped for Prometheus, Alertmanager and Grafana, with Debian's programs and a real S4 under load: Prometheus
finds every process, every rule evaluates, every query of every panel has data, every alert fires on its cause and on
no other's, and three are fired for real.
"""

import contextlib
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.monitoring import generate
from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.records import GROUPS, QUANTILES
from s4.platform.telemetry.metrics.buckets import HTTP_BUCKETS_SECONDS
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.factories.loops import in_thread
from tests.factories.prometheus import Prometheus, Webhook, alertmanager, await_that, program, prometheus
from tests.factories.provider import counting_provider
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server, free_ports

pytestmark = pytest.mark.ops

TOKEN = "a-token-for-metrics-0123456789abcdef"
FOLDER = generate.HERE
BOUND_SECONDS = 240  # a guard: on a machine with other work a process takes minutes to start
LIVE = ("S4StoreFails", "S4KeysGuessed", "S4WorkerAbsent")
_PDF = {"Content-Type": "application/pdf"}
QUIET_RECORDS = {"load:s4_http_place_wait_seconds:p95"}
"""Of what does not happen under this load: nobody waits for a place."""


def run(*command: str | Path, folder: Path = FOLDER) -> str:
    """What a program says. Raises `AssertionError` with it when the program is not content."""
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- on paper


def test_prometheus_and_alertmanager_take_their_files() -> None:
    run("promtool", "check", "config", "prometheus.yml", folder=FOLDER / "prometheus")
    said = run("promtool", "check", "rules", "rules.yml", "alerts.yml", folder=FOLDER / "prometheus")
    assert f"{len(ALERTS)} rules found" in said
    run("amtool", "check-config", "alertmanager/alertmanager.yml")
    for severity in ("page", "ticket"):
        asked = ("amtool", "config", "routes", "test", "--config.file=alertmanager/alertmanager.yml")
        assert run(*asked, f"severity={severity}").strip() == f"{severity}s"


def test_every_alert_fires_on_its_cause_and_is_silent_on_the_others() -> None:
    files = sorted(path.name for path in (FOLDER / "prometheus" / "tests").glob("*.yml"))
    assert len(files) == len(ALERTS) + 1
    run("promtool", "test", "rules", *files, folder=FOLDER / "prometheus" / "tests")


def test_an_alert_that_does_not_fire_is_found_out(tmp_path: Path) -> None:
    """The test above can fail: one threshold is raised, and its alert's file is the one that fails."""
    folder = tmp_path / "prometheus"
    (folder / "tests").mkdir(parents=True)
    for name in ("rules.yml", "tests/queue-old.yml"):
        (folder / name).write_text((FOLDER / "prometheus" / name).read_text())
    alerts = (FOLDER / "prometheus" / "alerts.yml").read_text()
    (folder / "alerts.yml").write_text(alerts.replace("(s4_queue_oldest_ready_seconds) > 600", "(up) > 600"))
    with pytest.raises(AssertionError, match="S4QueueOld"):
        run("promtool", "test", "rules", "queue-old.yml", folder=folder / "tests")


# -- for real


@dataclass
class Watched:
    """A real S4 of three processes, and who watches it."""

    api: Deployment
    worker: subprocess.Popen[bytes]
    store: FaultProxy
    prometheus: Prometheus
    webhook: Webhook
    idle: str
    """The tenant that has never asked for anything."""


def live_rules() -> str:
    """The alerts that are fired for real, with windows of seconds: everything else about them is as shipped."""
    records = {record.name: record.expression for group in GROUPS for record in group.records}
    rules = []
    for group in yaml.safe_load((FOLDER / "prometheus" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            if rule["alert"] not in LIVE:
                continue
            for name, expression in records.items():
                rule["expr"] = rule["expr"].replace(name, f"({expression})")
            rule["expr"] = re.sub(r"\[\w+\]", "[12s]", rule["expr"])
            rules.append(rule | {"for": "1s", "labels": rule["labels"] | {"live": "yes"}})
    assert len(rules) == len(LIVE)
    return yaml.safe_dump({"groups": [{"name": "live", "rules": rules}]})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    worker_port, exporter_port = free_ports(2)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(in_thread(fault_proxy(s3_server.endpoint)))
        provider = stack.enter_context(counting_provider())
        environment = (
            FAST
            | provider.settings
            | {
                "S4_ADMIN_API_KEY": ADMIN_KEY,
                "S4_DATA_DIR": str(folder / "data"),
                "S4_STORE_URL": f"s3://{s3_server.new_bucket()}/s4",
                "S4_STORE_ENDPOINT": store.endpoint,
                "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
                "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
                "S4_WORKER_NICENESS": "0",  # with a busy neighbour a niced one takes minutes to start
                "S4_METRICS_TOKEN": TOKEN,
                "S4_METRICS_CATALOG_SECONDS": "1",
                "S4_EXPORTER_SECONDS": "1",
                "S4_WORKER_METRICS_PORT": str(worker_port),
                "S4_EXPORTER_PORT": str(exporter_port),
            }
        )
        api = Deployment(folder / "data", environment, ("--no-worker",)).start()
        stack.callback(api.stop)
        whole = clean_environment() | environment
        command = [sys.executable, "-m", "s4.entrypoints.cli"]
        worker = stack.enter_context(program([*command, "worker"], folder / "worker.log", environment=whole))
        stack.enter_context(program([*command, "exporter"], folder / "exporter.log", environment=whole))
        address, webhook = stack.enter_context(alertmanager(folder))
        targets = {
            "s4-api": api.url.removeprefix("http://"),
            "s4-worker": f"127.0.0.1:{worker_port}",
            "s4-exporter": f"127.0.0.1:{exporter_port}",
        }
        watching = stack.enter_context(
            prometheus(folder, targets, token=TOKEN, alertmanager=address, more_rules=live_rules())
        )
        await_that(lambda: len(watching.query("up == 1")) == len(targets), BOUND_SECONDS, "all three are scraped")
        with api.admin() as admin:
            idle = admin.post("/admin/tenants", json={"name": "Sleepers"}).raise_for_status().json()["id"]
        yield Watched(api, worker, store, watching, webhook, idle)


def load(api: Deployment, watching: Prometheus) -> None:
    """A bit of everything that tenants and administrators do, twice, so that everything grows between two scrapes."""
    with api.new_tenant("Harbour") as tenant, api.admin() as admin:
        for number in range(2):
            for name in ("tides", "moon"):
                text = f"{name} {number}: tides follow the moon."
                tenant.put(f"/documents/by-key/{name}.txt", content=text.encode()).raise_for_status()
            tenant.put("/documents/by-key/bad.pdf", content=b"%PDF-1.7 broken", headers=_PDF).raise_for_status()
            await_that(lambda: _states(tenant) <= {"ready", "failed"}, BOUND_SECONDS, "everything is indexed")
            for mode in ("hybrid", "keyword", "semantic"):
                tenant.post("/search", json={"query": "tides", "mode": mode}).raise_for_status()
            tenant.get("/documents/by-key/tides.txt")
            tenant.get("/documents/doc_nobody")
            admin.get("/admin/tenants").raise_for_status()
            httpx.get(f"{api.api}/documents", headers={"X-Tenant-Key": "s4_" + "a" * 40}, timeout=60)
            done = time.time()
            await_that(
                lambda done=done: float(watching.query("min(timestamp(up))")[0]["value"][1]) > done,
                BOUND_SECONDS,
                "Prometheus has seen it in every process",
            )


def _states(tenant: httpx.Client) -> set[str]:
    return {each["status"] for each in tenant.get("/documents").json()["documents"]}


def panels() -> Iterator[tuple[str, str]]:
    """Every query of every panel in the files that Grafana reads."""
    for path in sorted((FOLDER / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}: {panel['title']} {target['refId']}", target["expr"]


def test_every_process_is_found_and_every_rule_evaluates(watched: Watched) -> None:
    asked = watched.prometheus
    up = {("s4-api", "api"), ("s4-worker", "worker"), ("s4-exporter", "exporter")}
    await_that(
        lambda: {(each["metric"]["job"], each["metric"]["process"]) for each in asked.query("up == 1")} == up,
        BOUND_SECONDS,
        "every process is found, and nothing else",
    )
    await_that(
        lambda: {each["metric"]["process"] for each in asked.query("s4_ready == 1")} == {"api", "worker"},
        BOUND_SECONDS,
        "also where nobody asks for readiness",
    )
    load(watched.api, asked)

    def rules() -> list[dict[str, Any]]:
        return [rule for group in asked.get("rules")["groups"] for rule in group["rules"]]

    await_that(lambda: all(rule["health"] != "unknown" for rule in rules()), BOUND_SECONDS, "every rule was evaluated")
    assert [(rule["name"], rule.get("lastError")) for rule in rules() if rule["health"] != "ok"] == []
    records = [rule["name"] for rule in rules() if rule["type"] == "recording"]
    await_that(
        lambda: {name for name in records if not asked.query(name)} <= QUIET_RECORDS,
        BOUND_SECONDS,
        "every recording rule has a result",
    )


def test_quantiles_are_those_of_delays_that_are_known(watched: Watched) -> None:
    """Downloads are delayed on their way from the store; each quantile lies between what the route was delayed and what
    its caller measured, to the bucket."""
    known = {0.15: 27, 0.6: 12, 1.5: 1}
    measured: list[float] = []
    answered = "s4_http_request_duration_seconds_count{route=~'.*/download'}"
    with watched.api.new_tenant("Delayed") as tenant:
        sent = tenant.put("/documents/by-key/slow.txt", content=b"Tides follow the moon.").raise_for_status()
        document_id = sent.json()["document_id"]
        tenant.get(f"/documents/{document_id}/download").raise_for_status()
        await_that(lambda: watched.prometheus.query(answered), BOUND_SECONDS, "there is something to count from")
        for delay, times in known.items():
            fault = watched.store.add(Fault(Mode.SLOW, method="GET", path=document_id, delay_seconds=delay))
            for _ in range(times):
                began = time.monotonic()
                tenant.get(f"/documents/{document_id}/download").raise_for_status()
                measured.append(time.monotonic() - began)
            watched.store.heal()
            assert fault.hits == times, "each download was delayed once"

    delays = sorted(delay for delay, times in known.items() for _ in range(times))
    measured.sort()
    for name, quantile in QUANTILES.items():
        rank = math.ceil(quantile * len(delays)) - 1
        least = max(bound for bound in (0.0, *HTTP_BUCKETS_SECONDS) if bound <= delays[rank])
        most = min(bound for bound in HTTP_BUCKETS_SECONDS if bound >= measured[rank])
        said: list[float] = []

        def agrees(
            record: str = f"route:s4_http_request_duration_seconds:{name}{{route=~'.*/download'}}",
            least: float = least, most: float = most, said: list[float] = said,
        ) -> bool:  # fmt: skip
            said[:] = [float(each["value"][1]) for each in watched.prometheus.query(record)]
            return len(said) == 1 and least <= said[0] <= most

        with contextlib.suppress(AssertionError):
            await_that(agrees, 30, "the rule has seen all of them")
        assert agrees(), f"{name} is {said}, and should be from {least} to {most}"


def test_every_query_of_every_panel_returns_data_of_the_least_active_tenant_too(watched: Watched) -> None:
    def answers(expression: str) -> bool:
        for name, value in {
            "$__rate_interval": "30s",
            "$tenant": watched.idle,
            "$instance": ".+",
        }.items():
            expression = expression.replace(name, value)
        assert "$" not in expression.replace('"${1}xx"', ""), expression
        return bool(watched.prometheus.query(expression))

    load(watched.api, watched.prometheus)
    waiting = dict(panels())
    assert len(waiting) > 100

    def all_answered() -> bool:
        for title in [title for title, expression in waiting.items() if answers(expression)]:
            del waiting[title]
        return not waiting

    with contextlib.suppress(AssertionError):  # what is missing says more than that it took too long
        await_that(all_answered, 30, "all have data")
    assert not waiting


def test_three_alerts_are_fired_and_told_to_whom_they_concern(watched: Watched) -> None:
    told = watched.webhook.told
    assert not [name for _, name, _ in told if name in LIVE], "all was well"

    def told_to(receiver: str, name: str, status: str = "firing") -> bool:
        return (receiver, name, status) in told

    def meanwhile(act: Callable[[], object], name: str) -> None:
        """Does it again and again until the alert has come."""
        deadline = time.monotonic() + BOUND_SECONDS
        while not told_to("/page", name) and time.monotonic() < deadline:
            act()
        assert told_to("/page", name), name

    with httpx.Client(base_url=watched.api.api, timeout=60) as stranger:
        guess = {"X-Tenant-Key": "s4_" + "b" * 40}
        meanwhile(lambda: stranger.get("/documents", headers=guess), "S4KeysGuessed")
    with watched.api.new_tenant("Stranded") as tenant:
        watched.store.add(Fault(Mode.RESET))
        meanwhile(lambda: tenant.put("/documents/by-key/lost.txt", content=b"lost"), "S4StoreFails")
        watched.store.heal()
    watched.worker.send_signal(signal.SIGSTOP)  # not killed: other tests look at it as well, in any order
    try:
        await_that(lambda: told_to("/page", "S4WorkerAbsent"), BOUND_SECONDS, "the worker's absence is told")
    finally:
        watched.worker.send_signal(signal.SIGCONT)
    await_that(lambda: told_to("/page", "S4KeysGuessed", "resolved"), BOUND_SECONDS, "the guessing has ended")
    annotations: dict[str, Any] = next(
        alert["annotations"]
        for notice in watched.webhook.notices
        for alert in notice["alerts"]
        if alert["labels"]["alertname"] == "S4StoreFails"
    )
    assert annotations["runbook_url"].endswith("/store-fails")
    assert "%" in annotations["description"]
