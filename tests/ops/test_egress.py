"""S4 connects to what is configured and to nothing else: watched in a network namespace in which there is nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from s4.platform.egress import QUIET, keep_libraries_quiet
from tests.factories.deployment import clean_environment
from tests.factories.pages import REPOSITORY
from tests.factories.sealed_off import CALLS, tried
from tests.leash import leashed

pytestmark = pytest.mark.ops

SECONDS_MAX = 240


def sealed_off(*command: str) -> subprocess.CompletedProcess[str]:
    """In a namespace with nothing but loopback; that of a user, where this one is not root."""
    unshare = ["/usr/bin/unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--"]
    return subprocess.run(
        leashed([*unshare, *command]), cwd=REPOSITORY, env=clean_environment() | {"NO_PROXY": "*"},
        capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip


def test_the_main_job_is_done_without_a_network_and_nothing_is_tried(tmp_path: Path) -> None:
    done = sealed_off(sys.executable, "-m", "tests.factories.sealed_off", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    saw: dict[str, Any] = json.loads(done.stdout)

    assert saw["found"][0] == "note.md", "the model is there, and understands"
    assert saw["processes"] >= 2, "the API and its worker were watched"
    elsewhere = [each for each in saw["tried"] if not each[1].startswith("127.") and each[1] != "::1"]
    assert elsewhere == []
    assert 53 not in {port for *_, port in saw["tried"]}, "no name is looked up, of a resolver on this machine either"


def test_what_does_call_home_is_seen(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    call = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect_ex(('192.0.2.7', 53));"
        "t = socket.socket(socket.AF_INET6, socket.SOCK_STREAM); t.connect_ex(('2001:db8::7', 443))"
    )
    strace = ["/usr/bin/strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-o", str(trace)]
    assert sealed_off(*strace, sys.executable, "-c", call).returncode == 0

    assert tried(trace.read_text().splitlines()) == [("AF_INET", "192.0.2.7", 53), ("AF_INET6", "2001:db8::7", 443)]


def test_libraries_are_told_to_stay_quiet_and_an_operator_may_say_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"HF_HUB_OFFLINE": "0"})
    keep_libraries_quiet()

    assert os.environ == {**QUIET, "HF_HUB_OFFLINE": "0"}
