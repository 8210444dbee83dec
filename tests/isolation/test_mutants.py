"""`s4 verify-isolation` finds out when one guard is missing. `make isolation` runs every mutant."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories.command_line import S4
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.isolation.mutants import MUTANTS

TIMEOUT_SECONDS = 900  # of a mutant: a whole verification, on a machine that does other things too


@pytest.mark.long
@pytest.mark.timeout(TIMEOUT_SECONDS)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_deployment_that_lacks_a_guard_is_refuted(tmp_path: Path, name: str) -> None:
    mutant = MUTANTS[name]
    environment = {"S4_ADMIN_API_KEY": ADMIN_KEY}
    program = (sys.executable, "-m", "tests.isolation.mutants", name)
    deployment = Deployment(tmp_path, FAST | environment, program=program).start()
    try:
        command = [S4, "verify-isolation", "--url", deployment.url, "--report", tmp_path / "report.md", "--json"]
        run = subprocess.run(command, env=clean_environment() | environment, capture_output=True, text=True)
    finally:
        deployment.kill()

    assert run.stdout, run.stderr
    report = json.loads(run.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert (run.returncode, report["verdict"]) == (1, "refuted")
    assert {check for check in mutant.caught_by if not checks[check]["failures"]} == set()
    assert "REFUTED" in (tmp_path / "report.md").read_text()
