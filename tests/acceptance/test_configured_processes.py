"""Configuration as processes see it: what `s4 serve` was told reaches its worker, and what is wrong ends a start."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.events import assert_lines
from tests.faults.test_processes import worker_of
from tests.servers import PostgresServer, free_ports

pytestmark = pytest.mark.processes

BOUND_SECONDS = 60  # the check gives each dependency fifteen; the rest is a busy machine's

CONFIGURATION = """
drain_seconds = 0
admin_api_key_file = "{folder}/admin-key"
chunk_tokens_max = 77        # another generation than the default's

[embedding]
provider = "deterministic"
dimension = 48

[job]
poll_seconds = 0.05
lease_seconds = 2            # what the killed worker held is free again soon
"""


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Deployment]:
    """`s4 serve` with a file, a flag, and a variable that is misspelt."""
    (tmp_path / "admin-key").write_text(ADMIN_KEY + "\n")
    file = tmp_path / "s4.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path))
    deployment = Deployment(tmp_path / "data", {"S4_DRAIN_SECOND": "5"}, ("--config", str(file))).start()
    yield deployment
    deployment.stop()


def searchable(client: httpx.Client, name: str, text: str) -> None:
    """Uploads, waits until the worker is done, and finds it by the vectors that both sides must agree about."""
    client.put(f"/documents/by-key/{name}", content=text, headers={"Content-Type": "text/plain"}).raise_for_status()
    document = client.get(f"/documents/by-key/{name}", params={"wait": 60}).json()
    assert document["status"] == "ready"
    answer = client.post("/search", json={"query": text, "mode": "semantic"}).json()
    assert name in [found["key"] for found in answer["results"]]


def test_the_worker_runs_with_what_serve_was_told_even_when_the_file_has_changed(configured: Deployment) -> None:
    file = Path(configured.arguments[1])
    with configured.new_tenant() as acme:
        searchable(acme, "tides", "Tides follow the moon.")
        file.write_text("this is no TOML")
        (file.parent / "admin-key").unlink()
        os.kill(worker_of(configured), signal.SIGKILL)
        searchable(acme, "walrus", "A walrus sleeps on the ice.")

    generations = {event["details"]["generation"] for event in configured.events("worker.started")}
    assert len(configured.events("worker.started")) == 2
    assert len(generations) == 1
    (unknown,) = configured.events("configuration.variable_unknown")
    assert unknown["level"] == "warning"
    assert unknown["details"] == {"variable": "S4_DRAIN_SECOND", "nearest": "S4_DRAIN_SECONDS"}


def s4(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("S4_")}
    return subprocess.run(
        [sys.executable, "-m", "s4.entrypoints.cli", *arguments],
        env=clean | FAST | environment,
        capture_output=True,
        text=True,
        timeout=BOUND_SECONDS,
        check=False,
    )


def test_a_start_with_a_wrong_setting_ends_with_a_sentence(tmp_path: Path) -> None:
    done = s4("serve", "--config", str(tmp_path / "none.toml"), S4_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    (line,) = assert_lines(done.stderr.splitlines(keepends=True), services={"api"})
    assert line["event_type"] == "process.failed"
    assert line["details"]["error"] == (
        f"The configuration does not work: The configuration file {tmp_path / 'none.toml'} does not exist."
    )


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["worker"], ["migrate"]])
def test_without_its_database_no_process_starts_and_the_sentence_says_why(command: list[str], tmp_path: Path) -> None:
    (dead,) = free_ports(1)
    done = s4(*command, S4_DATA_DIR=str(tmp_path), S4_DATABASE_URL=f"postgresql://s4:hush-hush@127.0.0.1:{dead}/s4")
    assert done.returncode == 1
    if command == ["migrate"]:  # a command, which speaks to a person
        said = done.stderr.removeprefix("Error: ")
    else:
        lines = assert_lines(done.stderr.splitlines(keepends=True), services={"api", "worker"})
        said = lines[-1]["details"]["error"]
    assert said.startswith("The catalog database does not answer: connection failed: ")
    assert str(dead) in said
    assert "hush" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_check_asks_every_dependency_and_says_which_does_not_answer(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    dead = free_ports(3)
    environment = {
        "S4_DATA_DIR": str(tmp_path / "data"),
        "S4_DATABASE_URL": f"postgresql://s4:hush-hush@127.0.0.1:{dead[0]}/s4",
        "S4_STORE_URL": "s3://bucket",
        "S4_STORE_ENDPOINT": f"http://127.0.0.1:{dead[1]}",
        "S4_STORE_ACCESS_KEY_ID": "key",
        "S4_STORE_SECRET_ACCESS_KEY": "hush-hush",
        "S4_EMBEDDING_PROVIDER": "openai",
        "S4_EMBEDDING_API_KEY": "hush-hush",
        "S4_EMBEDDING_BASE_URL": f"http://127.0.0.1:{dead[2]}/v1",
        "S4_EMBEDDING_RETRIES_MAX": "0",
        "S4_STORE_RETRIES_MAX": "0",
    }
    refused = s4("config", "check", "--connect", "--json", **environment)
    assert refused.returncode == 1
    found = {each["dependency"]: each for each in json.loads(refused.stdout)["dependencies"]}
    assert {name: each["works"] for name, each in found.items()} == {
        "database": False, "object_store": False, "embedding": False,
    }  # fmt: skip
    assert all(each["message"] for each in found.values())
    assert "hush" not in refused.stdout + refused.stderr

    production = {
        "S4_ENVIRONMENT": "production",
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_SECRET_KEY": ADMIN_KEY[::-1],
        "S4_DATA_DIR": str(tmp_path / "data"),
        "S4_DATABASE_URL": postgres_url,
    }
    early = s4("config", "check", "--connect", **production)
    assert early.returncode == 1
    assert "run `s4 migrate`" in early.stderr
    assert s4("migrate", **production).returncode == 0
    done = s4("config", "check", "--connect", **production)
    assert (done.returncode, done.stderr) == (0, "")
    assert "database: PostgreSQL 18" in done.stdout
