"""Blocks of the handbook that take programs of others."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clouds.programs import CLOUDS, environment
from tests.factories.handbook import blocks
from tests.factories.pages import run_blocks
from tests.servers import amazon

pytestmark = pytest.mark.ops

ASK = (
    "aws application-autoscaling describe-scalable-targets --service-namespace ecs --output json",
    "aws ecs describe-services --cluster s4-cluster --services s4-service --output json",
)


def test_prometheus_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    text = blocks()["Prometheus configuration"][1].replace("/etc/prometheus/metrics-token", str(tmp_path / "token"))
    (tmp_path / "token").write_text("a-token")
    for content, code in ((text, 0), (text.replace("scrape_configs", "scrape_config"), 1)):
        file.write_text(content)
        done = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr


def test_ecs_keeps_the_number_that_the_handbook_asks_for(tmp_path: Path) -> None:
    task = json.dumps([{"name": "s4", "image": "s4", "memory": 512}])
    before = [
        "aws ecs create-cluster --cluster-name s4-cluster > made",
        f"aws ecs register-task-definition --family s4 --container-definitions '{task}' > made",
        "aws ecs create-service --cluster s4-cluster --service-name s4-service --task-definition s4 > made",
    ]
    with amazon(CLOUDS) as endpoint:
        steps = ["\n".join(before), blocks()["Horizontal scaling, ECS"][1], *ASK]
        *_, targets, services = run_blocks(steps, tmp_path, "", environment(endpoint, "us-east-1"))
    (target,) = json.loads(targets)["ScalableTargets"]
    (service,) = json.loads(services)["services"]
    assert (target["MinCapacity"], target["MaxCapacity"], service["desiredCount"]) == (3, 10, 3)
