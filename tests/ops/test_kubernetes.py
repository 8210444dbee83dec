"""The manifests for Kubernetes: every overlay renders, keeps the API's schemas, and says nothing that S4 does not know.

Needs `kubectl` (whose `kustomize` renders) and `make clouds`. What the manifests do when they run: test_pods.py."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.monitoring.scrape import JOBS
from s4.kernel.settings import Settings
from tests.factories.deployed import declared_settings, parse
from tests.factories.kubernetes import FOLDER, Manifest, of_kind, rendered, templates
from tests.factories.pages import page

pytestmark = pytest.mark.kubernetes

CLOUDS = Path(__file__).parents[2] / ".venv-clouds" / "bin"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
WITH_SERVERS = [name for name in OVERLAYS if name != "embedded"]
OLDEST, NEWEST = "1.31", "1.37"
"""Of Kubernetes, whose schemas the manifests are held against."""
NOT_OF_KUBERNETES = {"ServiceMonitor", "PodMonitoring", "BackendConfig"}
CONNECTIONS_MAX = 97
"""Of a PostgreSQL as it comes: 100, and 3 are the superuser's."""


@pytest.fixture(scope="module")
def overlays() -> dict[str, list[Manifest]]:
    """With the component that no overlay takes."""
    crons = list(yaml.safe_load_all((FOLDER / "components" / "cronjobs" / "cronjobs.yaml").read_text()))
    return {name: rendered(FOLDER / "overlays" / name) + (crons if name != "embedded" else []) for name in OVERLAYS}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_keeps_the_schemas(overlays: dict[str, list[Manifest]], version: str, tmp_path: Path) -> None:
    files = []
    for name, objects in overlays.items():
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump_all(each for each in objects if each["kind"] not in NOT_OF_KUBERNETES))
    done = subprocess.run(
        [CLOUDS / "kubernetes-validate", "--strict", "-k", version, *files],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (done.returncode, re.findall(r"^(?:WARN|ERROR).*", said, re.MULTILINE)) == (0, []), said[-3000:]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_bounds_and_no_privileges(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    for owner, template in templates(overlays[overlay]):
        pod, name = template["spec"], owner["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] == 10001, f"{name}: the image's user"
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            resources = container["resources"]
            assert resources["limits"].keys() >= {"cpu", "memory"}, name
            assert resources["requests"]["memory"] == resources["limits"]["memory"], f"{name}: it would be evicted"
            assert {each["mountPath"] for each in container["volumeMounts"]} >= {"/tmp", "/var/lib/s4"}, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_link_of_kubernetes_sets_a_setting(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    """A Service that is called s4 brings S4_PORT=tcp://… into every pod that does not decline."""
    assert "s4" in of_kind(overlays[overlay], "Service")
    for owner, template in templates(overlays[overlay]):
        assert template["spec"]["enableServiceLinks"] is False, owner["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_serves_is_asked_and_has_time_to_go(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    settings = _settings(overlays[overlay])
    drain = float(settings.get("S4_DRAIN_SECONDS", Settings.model_fields["drain_seconds"].default))
    shutdown = float(settings.get("S4_SHUTDOWN_SECONDS", Settings.model_fields["shutdown_seconds"].default))
    for name, each in of_kind(overlays[overlay], "Deployment", "StatefulSet").items():
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert "lifecycle" not in container, "S4 waits by itself"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[kind]["httpGet"]["port"] in ports
            assert container[kind]["httpGet"]["path"] in ("/health/live", "/health/ready")
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live", "no dependency restarts what waits"
        if container["args"][0] == "serve":
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
            assert container["readinessProbe"]["timeoutSeconds"] > 5, "it asks the database for so long"
        stages = 2 if container["args"] == ["serve"] else 1
        if name != "s4-exporter":
            assert pod["terminationGracePeriodSeconds"] >= drain + stages * shutdown + 10, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_match_what_they_are_about(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    objects = overlays[overlay]
    pods = [template["metadata"]["labels"] for _, template in templates(objects)]
    ports = {
        port["name"]
        for _, template in templates(objects)
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
    }
    for name, each in of_kind(objects, "Deployment", "StatefulSet").items():
        assert each["spec"]["selector"]["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        for spread in each["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
            assert spread["labelSelector"] == each["spec"]["selector"], name
    for each in of_kind(objects, "Service").values():
        assert any(each["spec"]["selector"].items() <= labels.items() for labels in pods)
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    for each in of_kind(objects, "PodDisruptionBudget").values():
        assert any(each["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in pods)
    for each in of_kind(objects, "NetworkPolicy").values():
        wanted = each["spec"]["podSelector"].get("matchLabels", {})
        assert any(wanted.items() <= labels.items() for labels in pods)
        for rule in each["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= ports
    for each in of_kind(objects, "HorizontalPodAutoscaler").values():
        target = each["spec"]["scaleTargetRef"]
        scaled = of_kind(objects, target["kind"])[target["name"]]
        assert "replicas" not in scaled["spec"], "every apply would undo what the autoscaler did"
    services = of_kind(objects, "Service")
    for each in of_kind(objects, "Ingress").values():
        for path in each["spec"]["rules"][0]["http"]["paths"]:
            assert path["backend"]["service"]["name"] in services
            assert not path["path"].startswith(("/metrics", "/health"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_is_one_of_s4s(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    for owner, template in templates(overlays[overlay]):
        names = {each["name"] for each in template["spec"]["containers"][0].get("env", ())}
        names |= _settings(overlays[overlay]).keys()
        assert names <= declared_settings(), owner["metadata"]["name"]


def test_a_backup_that_kubernetes_clock_does_not_begin_is_missed(tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "kubernetes") / "overlays" / "cluster"
    said = folder / "kustomization.yaml"
    said.write_text(said.read_text().replace("components: [", "components: [../../components/cronjobs, "))
    objects = rendered(folder)
    assert of_kind(objects, "CronJob")["s4-backup"]["spec"]["schedule"] == "30 1 * * *"
    assert _settings(objects)["S4_RPO_TARGET_SECONDS"] == str(2 * 86_400), "each day, and told when two have passed"


@pytest.mark.parametrize("overlay", WITH_SERVERS)
def test_every_secret_is_one_that_the_document_makes(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    told = page("deploy/kubernetes/README.md")
    made = set(re.findall(r"--from-file=([a-z-]+)=", told)) | set(re.findall(r"--from-literal=([a-z-]+)=", told))
    for name, path in _settings(overlays[overlay]).items():
        if name.endswith("_FILE"):
            folder, _, key = path.rpartition("/")
            assert (folder, key in made) == ("/run/secrets/s4", True), f"{name}={path}"
    for owner, template in templates(overlays[overlay]):
        named = {each["secret"]["secretName"] for each in template["spec"]["volumes"] if "secret" in each}
        assert named == {"s4-secrets"}, owner["metadata"]["name"]
    assert "s4-secrets" in told


@pytest.mark.parametrize("overlay", WITH_SERVERS)
def test_the_database_bears_as_many_as_the_autoscalers_allow(overlays: dict[str, list[Manifest]], overlay: str) -> None:
    pool = int(_settings(overlays[overlay])["S4_DATABASE_POOL_SIZE"])
    most = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"]["maxReplicas"] + 1  # maxSurge
        for each in of_kind(overlays[overlay], "HorizontalPodAutoscaler").values()
    }
    connections = most["s4-api"] * pool + most["s4-worker"] * (pool + 1) + 2 + 1
    assert connections == 74, "as settings.env says"
    assert connections <= CONNECTIONS_MAX


def test_every_command_is_one_of_s4s(overlays: dict[str, list[Manifest]]) -> None:
    for objects in overlays.values():
        for _, template in templates(objects):
            parse(template["spec"]["containers"][0]["args"])


def _settings(objects: list[Manifest]) -> dict[str, str]:
    maps = of_kind(objects, "ConfigMap").values()
    return {name: value for each in maps for name, value in each["data"].items()}


def test_prometheus_finds_every_process_by_its_services_name(overlays: dict[str, list[Manifest]]) -> None:
    services = of_kind(overlays["cluster"], "Service")
    for job in JOBS:
        assert services[job.name]["spec"]["clusterIP"] == "None", "its name is every address"
        assert [port["port"] for port in services[job.name]["spec"]["ports"]] == [job.port]
    monitors = of_kind(overlays["cluster"], "ServiceMonitor")
    assert monitors.keys() == {job.name for job in JOBS}
    for name, each in monitors.items():
        labels = services[name]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert {rule["key"] for rule in each["spec"]["selector"]["matchExpressions"]} <= labels.keys()
        assert [point["port"] for point in each["spec"]["endpoints"]] == [services[name]["spec"]["ports"][0]["name"]]


def test_the_adapters_rules_name_what_the_autoscalers_ask(overlays: dict[str, list[Manifest]]) -> None:
    rules = yaml.safe_load((FOLDER / "prometheus-adapter" / "rules.yaml").read_text())["rules"]
    given = {kind: {each["name"]["as"] for each in rules[kind]} for kind in ("custom", "external")}
    asked: dict[str, set[str]] = {"custom": set(), "external": set()}
    for each in of_kind(overlays["cluster"], "HorizontalPodAutoscaler").values():
        for metric in each["spec"]["metrics"]:
            if metric["type"] == "Pods":
                asked["custom"].add(metric["pods"]["metric"]["name"])
            elif metric["type"] == "External":
                asked["external"].add(metric["external"]["metric"]["name"])
    assert given == asked
    assert json.dumps(rules).count("s4_http_places")
