"""What Kustomize makes of an overlay, and a workload of it."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.factories.workloads import Probe, Workload

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    """Every object of `kubectl apply --kustomize`."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    """By name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def templates(objects: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Each object that makes pods, with its pods' template."""
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield each, each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield each, each["spec"]["jobTemplate"]["spec"]["template"]


def workload(objects: list[Manifest], name: str, secrets: Mapping[str, str]) -> Workload:
    """The one container of the pods of `name`. `secrets`: what the Secret s4-secrets holds."""
    template = next(template for each, template in templates(objects) if each["metadata"]["name"] == name)
    pod = template["spec"]
    (container,) = pod["containers"]
    environment = {}
    for source in container.get("envFrom", ()):
        environment |= of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    environment |= {each["name"]: each["value"] for each in container.get("env", ())}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    files, writable = {}, []
    for volume in pod["volumes"]:
        if "secret" in volume:
            files |= {f"{mounts[volume['name']]}/{key}": value for key, value in secrets.items()}
        else:
            writable.append(mounts[volume["name"]])
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
    return Workload(
        name=name,
        arguments=tuple(container["args"]),
        environment=environment,
        files=files,
        writable=tuple(writable),
        startup=_probe(container.get("startupProbe"), ports),
        readiness=_probe(container.get("readinessProbe"), ports),
        liveness=_probe(container.get("livenessProbe"), ports),
        grace_seconds=pod.get("terminationGracePeriodSeconds", 30),
    )


def _probe(said: Manifest | None, ports: Mapping[str, int]) -> Probe | None:
    if said is None:
        return None
    return Probe(
        path=said["httpGet"]["path"],
        port=ports[said["httpGet"]["port"]],
        period_seconds=said.get("periodSeconds", 10),
        timeout_seconds=said.get("timeoutSeconds", 1),
        failures=said.get("failureThreshold", 3),
    )
