"""The container image: its Dockerfile without a fault, its steps run one by one in a clean root, and a container of it,
read-only and without privileges, in which a document becomes ready."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories.image import Container, Image, instructions

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1200)]  # wheels that are not cached are fetched first

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
CLOUDS = ROOT / ".venv-clouds" / "bin"


def test_the_dockerfile_has_no_fault() -> None:
    done = subprocess.run([CLOUDS / "hadolint", DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_bases_are_pinned_and_what_is_installed_is_checked() -> None:
    steps = list(instructions(DOCKERFILE.read_text()))
    bases = {rest.split()[0] for name, rest in steps if name == "FROM"}
    assert len(bases) == 1, "a virtual environment needs the Python that made it"
    assert all(":" in base and not base.endswith(":latest") for base in bases)
    for rest in (rest for name, rest in steps if name == "RUN" and "install --" in rest and "pip" in rest):
        assert "--require-hashes" in rest or "--no-index" in rest, rest


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    # To compile takes longer than all the rest, and changes no answer.
    return Image.built(DOCKERFILE, context=ROOT, folder=tmp_path_factory.mktemp("image"), UV_COMPILE_BYTECODE="0")


@pytest.fixture(scope="module")
def container(image: Image) -> Iterator[Container]:
    with image.running(S4_EMBEDDING_PROVIDER="deterministic") as running:
        give_up_at = time.monotonic() + 120
        while running.execute(*image.health).returncode != 0:
            assert running.process.poll() is None, running.process.communicate()[0]
            assert time.monotonic() < give_up_at
        yield running
    assert running.process.returncode == 0, running.said
    assert '"api.stopped"' in running.said


def test_nothing_is_in_it_that_only_builds(image: Image) -> None:
    packages = {path.name.partition("-")[0] for path in image.root.glob("opt/s4/lib/*/site-packages/*.dist-info")}
    assert "s4_store" in packages
    assert not packages & {"pip", "setuptools", "uv", "hatchling", "pytest"}
    assert sorted(path.name for path in (image.root / "opt").iterdir()) == ["s4"]


def test_it_runs_as_nobody_in_particular_and_can_change_nothing(container: Container) -> None:
    assert container.execute("id", "-u").stdout == "10001\n"
    assert "Read-only" in container.execute("touch", "/opt/s4/x").stderr
    assert container.execute("touch", "/tmp/x", "/var/lib/s4/x").returncode == 0


def test_the_health_check_tells_who_answers(container: Container) -> None:
    assert container.execute("s4-health", "8000", "/health/ready").returncode == 0
    nobody = container.execute("s4-health", "9464")
    assert (nobody.returncode, "port 9464 does not answer" in nobody.stderr) == (1, True)
    nowhere = container.execute("s4-health", "8000", "/nowhere")
    assert (nowhere.returncode, nowhere.stderr) == (1, "/nowhere answers 404\n")


def test_a_document_becomes_ready_in_it(container: Container) -> None:
    made = container.execute("s4", "tenant", "create", "Acme", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["api_key"]
    container.execute("sh", "-c", "echo 'Tides rise twice a day.' > /tmp/tides.txt")
    assert container.execute("s4", "upload", "/tmp/tides.txt", "--wait", S4_TENANT_KEY=key).returncode == 0
    assert "tides.txt" in container.execute("s4", "search", "tides", S4_TENANT_KEY=key).stdout
