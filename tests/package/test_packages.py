"""The distributions as a stranger gets them: built, installed in clean environments outside of the repository, used.

`make package-test`. Needs the package index. `S4_PACKAGE_PYTHON` names another interpreter than the one of the tests.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from s4 import __version__
from s4.engine.embedding.wordpiece import VOCABULARY_SHA256
from tests.factories.deployment import Deployment

pytestmark = [pytest.mark.package, pytest.mark.timeout(1200)]  # installing half a gigabyte over a network

REPOSITORY = Path(__file__).parents[2]
PYTHON = os.environ.get("S4_PACKAGE_PYTHON", sys.executable)
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("S4_", "PYTHON", "VIRTUAL_ENV"))}
VOCABULARY = "s4/engine/embedding/data/minilm-l6-v2-vocab.txt"
S4_WHEEL, S4_SDIST = f"s4_store-{__version__}-py3-none-any.whl", f"s4_store-{__version__}.tar.gz"
CLIENT_WHEEL, CLIENT_SDIST = f"s4_store_client-{__version__}-py3-none-any.whl", f"s4_store_client-{__version__}.tar.gz"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=CLEAN | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def dist(outside: Path) -> Path:
    """What `make build` makes."""
    folder = outside / "dist"
    run("make", "build", f"DIST={folder}", cwd=REPOSITORY)
    assert {path.name for path in folder.iterdir()} == {S4_WHEEL, S4_SDIST, CLIENT_WHEEL, CLIENT_SDIST}
    return folder


def environment(folder: Path, *requirements: str | Path) -> Path:
    """A virtual environment with these installed, and nothing else. Answers with its programs' folder."""
    run(PYTHON, "-m", "venv", folder, cwd=folder.parent)
    run(folder / "bin" / "pip", "install", "--disable-pip-version-check", *requirements, cwd=folder.parent)
    run(folder / "bin" / "pip", "check", cwd=folder.parent)
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(outside: Path, dist: Path) -> Path:
    return environment(outside / "from-the-wheel", dist / S4_WHEEL)


@pytest.fixture(scope="module")
def uv() -> Path:
    return Path(sys.executable).with_name("uv")


@pytest.fixture
def deployment(installed: Path, tmp_path: Path) -> Iterator[Deployment]:
    """`s4 serve` of the installed wheel, on a fresh directory."""
    started = Deployment(tmp_path / "data", {}, program=(str(installed / "s4"),)).start()
    yield started
    started.stop()


# -- what is in them


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_code_types_model_data_and_licences_and_nothing_else(dist: Path) -> None:
    found = members(dist / S4_WHEEL)
    info = f"s4_store-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in found} == {"s4", "s4client", info}
    sources = {path.relative_to(REPOSITORY / "src").as_posix() for path in (REPOSITORY / "src").rglob("*.py")}
    assert sources <= found.keys()
    assert {"s4/py.typed", "s4client/py.typed"} <= found.keys()
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE", f"{info}/entry_points.txt"} <= found.keys()
    assert hashlib.sha256(found[VOCABULARY]).hexdigest() == VOCABULARY_SHA256
    other = {name for name in found if not name.endswith(".py") and not name.startswith(info)}
    assert {Path(name).suffix for name in other} == {".typed", ".txt", ".md", ".mako"}
    requirements = re.findall(r"^Requires-Dist: (.+)$", found[f"{info}/METADATA"].decode(), re.MULTILINE)
    wanted = (REPOSITORY / "requirements" / "runtime.in").read_text().splitlines()
    needed = [line for line in requirements if "extra ==" not in line]
    assert len(needed) == len([line for line in wanted if line and not line.startswith("#")])
    with (REPOSITORY / "pyproject.toml").open("rb") as project:
        extras = tomllib.load(project)["project"]["optional-dependencies"]
    assert len(requirements) - len(needed) == sum(map(len, extras.values()))


def test_the_clients_wheel_holds_the_client_and_needs_httpx_and_pydantic_only(dist: Path) -> None:
    found = members(dist / CLIENT_WHEEL)
    info = f"s4_store_client-{__version__}.dist-info"
    assert {name.partition("/")[0] for name in found} == {"s4client", info}
    of_the_server = members(dist / S4_WHEEL)
    assert {name: text for name, text in found.items() if name.startswith("s4client/")} == {
        name: text for name, text in of_the_server.items() if name.startswith("s4client/")
    }
    assert f"{info}/licenses/LICENSE" in found
    metadata = found[f"{info}/METADATA"].decode()
    assert re.findall(r"^Requires-Dist: ([a-z]+)", metadata, re.MULTILINE) == ["httpx", "pydantic"]


@pytest.mark.parametrize(("sdist", "wheel"), [(S4_SDIST, S4_WHEEL), (CLIENT_SDIST, CLIENT_WHEEL)])
def test_a_source_distribution_holds_no_more_than_it_needs_and_makes_the_same_wheel(
    dist: Path, tmp_path: Path, sdist: str, wheel: str
) -> None:
    with tarfile.open(dist / sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path, filter="data")
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {
        "src", "requirements", "hatch_build.py", "pyproject.toml", "PKG-INFO", ".gitignore",
        "LICENSE", "NOTICE", "README.md", "CHANGELOG.md",
    }  # fmt: skip
    (unpacked,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=unpacked)
    assert (tmp_path / "again" / wheel).read_bytes() == (dist / wheel).read_bytes()


def test_what_the_package_index_will_show_renders(uv: Path, dist: Path, outside: Path) -> None:
    said = run(uv, "tool", "run", "twine", "check", "--strict", *sorted(dist.iterdir()), cwd=outside)
    assert said.count("PASSED") == 4


# -- using them


def use(programs: Path, deployment: Deployment, folder: Path) -> None:
    """A tenant, an upload and a search, with the `s4` of that environment against that server."""
    (folder / "tides.txt").write_text("The sea rises twice a day because the moon pulls at it.")
    admin = {"S4_URL": deployment.url, "S4_DATA_DIR": str(deployment.data_dir)}
    created = run(programs / "s4", "tenant", "create", "Acme", cwd=folder, **admin)
    key = re.search(r"S4_TENANT_KEY=(\S+)", created)
    assert key is not None
    tenant = {"S4_URL": deployment.url, "S4_TENANT_KEY": key[1]}
    run(programs / "s4", "upload", "tides.txt", cwd=folder, **tenant)
    assert "tides.txt" in run(programs / "s4", "search", "why is there ebb and flow", cwd=folder, **tenant)


def test_the_wheel_serves_and_finds_what_is_uploaded(installed: Path, deployment: Deployment, tmp_path: Path) -> None:
    assert run(installed / "s4", "--version", cwd=tmp_path) == f"s4 {__version__}\n"
    place = run(installed / "python", "-c", "import s4; print(s4.__file__)", cwd=tmp_path)
    assert Path(place).is_relative_to(installed.parent)
    use(installed, deployment, tmp_path)


def test_the_source_distribution_installs_and_does_the_same(
    uv: Path, dist: Path, outside: Path, tmp_path: Path
) -> None:
    # By the other installer: what the wheel needs is known to install, and this one does in seconds.
    folder = outside / "from-the-sdist"
    run(uv, "venv", "--python", PYTHON, folder, cwd=outside)
    run(uv, "pip", "install", "--python", folder / "bin" / "python", dist / S4_SDIST, cwd=outside)
    programs = folder / "bin"
    assert run(programs / "s4", "--version", cwd=tmp_path) == f"s4 {__version__}\n"
    started = Deployment(tmp_path / "data", {}, program=(str(programs / "s4"),)).start()
    try:
        use(programs, started, tmp_path)
    finally:
        assert started.stop() == 0


def test_uvx_runs_it_from_the_wheel(uv: Path, dist: Path, outside: Path) -> None:
    said = run(uv, "tool", "run", "--python", PYTHON, "--from", dist / S4_WHEEL, "s4", "--version", cwd=outside)
    assert said == f"s4 {__version__}\n"


def test_the_client_alone_talks_to_a_server(dist: Path, outside: Path, deployment: Deployment, tmp_path: Path) -> None:
    programs = environment(outside / "client", dist / CLIENT_WHEEL)
    listed = run(programs / "pip", "list", "--format=freeze", cwd=outside).splitlines()
    names = {line.partition("==")[0].lower() for line in listed}
    assert {"s4-store-client", "httpx", "pydantic"} <= names
    assert not names & {"s4-store", "fastapi", "lancedb", "pydantic-settings"}
    script = """
import sys
import s4client

url, admin_key = sys.argv[1:]
with s4client.S4AdminClient(url, api_key=admin_key) as admin:
    key = admin.create_tenant("Acme").api_key
with s4client.S4Client(url, api_key=key) as s4:
    document = s4.wait(s4.upload("tides.txt").document_id)
    print(document.status, s4.search("moon").results[0].filename)
"""
    (tmp_path / "tides.txt").write_text("Tides follow the moon.")
    admin_key = (deployment.data_dir / "admin.key").read_text().strip()
    assert run(programs / "python", "-c", script, deployment.url, admin_key, cwd=tmp_path) == "ready tides.txt\n"
