"""The OpenAPI document, held against a running server by schemathesis.

Requests that fit the document and requests that do not, for every operation, alone and one after the other with the
answers' ids: no answer is a 5xx, none has a status, a type, a header or a shape that the document does not know, what
breaks the schema is refused, no credential can be left out, and a method that a path does not know is a 405.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.calls import new_tenant
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

pytestmark = pytest.mark.processes

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SEED = 1815
EXAMPLES = 3  # of an operation, beside those of the coverage phase, which follow from the document
EXAMPLES_LONG = 300


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Not the one of the other tests: whoever tries everything edits the default plans and deletes tenants."""
    started = Deployment(tmp_path_factory.mktemp("s4-explored"), FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}).start()
    yield started
    started.kill()


@pytest.mark.slow
def test_the_server_does_what_its_openapi_document_says(deployment: Deployment, tmp_path: Path) -> None:
    explore(deployment, tmp_path, "--seed", str(SEED), "--max-examples", str(EXAMPLES))


@pytest.mark.fuzz
@pytest.mark.timeout(3600)  # three hundred examples of each operation: minutes on an idle machine
def test_the_server_does_what_its_openapi_document_says_for_long(deployment: Deployment, tmp_path: Path) -> None:
    """With a seed of its own each time; the failure names it."""
    explore(deployment, tmp_path, "--max-examples", str(EXAMPLES_LONG))


def explore(deployment: Deployment, folder: Path, *options: str) -> None:
    """Runs schemathesis over the whole document. What it prints says how to repeat what failed."""
    with new_tenant(deployment) as tenant:
        key = tenant.headers["X-Tenant-Key"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{deployment.url}/openapi.json", "--checks", "all", "--phases", "coverage,fuzzing,stateful"),
            *("--mode", "all", "--continue-on-failure", "--no-color", "--generation-database", "none", *options),
        ],
        env=os.environ | {"S4_TEST_TENANT_KEY": key, "S4_TEST_ADMIN_KEY": ADMIN_KEY},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operation_documents_the_refusals_that_any_may_answer(deployment: Deployment) -> None:
    document = httpx.get(f"{deployment.url}/openapi.json", timeout=60).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert "POST /api/v1/search" in operations
    for name, operation in operations.items():
        expected = {"400", "413", "415", "500"}
        if operation["x-s4-permission"] != "public":
            expected |= {"401", "403", "422", "429", "503"}
        if "{" in name:
            expected.add("404")
        assert expected <= set(operation["responses"]), name
        for status in expected:
            shape = operation["responses"][status]["content"]["application/json"]["schema"]
            assert shape == {"$ref": "#/components/schemas/ErrorBody"}, (name, status)
