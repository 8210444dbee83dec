"""The gates of `.venv-audit` at work: the audit against services that answer, that know nothing and that are away, the
bill of materials, and planted secrets."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.servers import free_ports

pytestmark = pytest.mark.ops

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-audit/bin/python"
LOCK = "six==1.17.0 --hash=sha256:" + "0" * 64 + "\n"
JINJA = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "ranges": [], "versions": ["2.4.1"]}


class Advisories(BaseHTTPRequestHandler):
    """A copy of OSV's service that knows of the packages that a test names."""

    known: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        advisory = {"id": f"GHSA-{name}", "aliases": ["CVE-2014-1402"], "affected": [JINJA], "summary": "It escapes."}
        advisory |= {"modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z"}
        said = json.dumps({"vulns": [advisory]} if name in self.known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def audited(folder: Path, *flags: str, **environment: str) -> tuple[int, str]:
    """Exit code and report of an audit of a lock with one package."""
    (folder / "runtime.lock").write_text(LOCK)
    done = subprocess.run(
        [PYTHON, REPOSITORY / "requirements/audit.py", "--out", folder, *flags, folder / "runtime.lock"],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip
    said = json.loads((folder / "audit.json").read_text())
    assert said["exit_code"] == done.returncode, done.stderr
    return done.returncode, (folder / "audit.md").read_text()


@pytest.mark.parametrize(
    ("known", "code", "sentence"),
    [
        ({"jinja2"}, 0, "Everything was audited; no vulnerability is known."),
        ({"jinja2", "six"}, 1, "| runtime.lock | six 1.17.0 | CVE-2014-1402, GHSA-six |"),
        (set(), 3, "NOTHING was audited"),
    ],
)
def test_an_answer_is_believed_of_a_service_that_knows_what_everybody_knows(
    tmp_path: Path, osv: str, monkeypatch: pytest.MonkeyPatch, known: set[str], code: int, sentence: str
) -> None:
    monkeypatch.setattr(Advisories, "known", known)
    found, report = audited(tmp_path, "--service", "osv", "--osv-url", osv)
    assert found == code, report
    assert sentence in report


def test_without_a_network_the_audit_says_that_it_audited_nothing(tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_ports(1)[0]}"
    code, report = audited(tmp_path, HTTPS_PROXY=away, https_proxy=away, NO_PROXY="", no_proxy="")
    assert code == 3
    assert "NOTHING was audited" in report


def test_the_bill_of_materials_names_every_pin(tmp_path: Path) -> None:
    subprocess.run([PYTHON, "requirements/sbom.py", tmp_path / "sbom.json"], cwd=REPOSITORY, check=True)
    bill = json.loads((tmp_path / "sbom.json").read_text())
    pins = [
        line.split(" ")[0]
        for line in (REPOSITORY / "requirements/runtime.lock").read_text().splitlines()
        if "==" in line
    ]
    assert {f"{each['name'].lower()}=={each['version']}" for each in bill["components"]} == set(pins)
    (root,) = [each for each in bill["dependencies"] if each["ref"] == bill["metadata"]["component"]["bom-ref"]]
    assert len(root["dependsOn"]) == len(bill["components"])


@pytest.mark.parametrize(
    ("path", "planted", "kind"),
    [
        ("src/settings.py", 'key = "AKIA' + "QYLPMN5HFIQR7XYA" + '"', "AWS Access Key"),
        ("tests/keys.py", 'key = "AKIA' + "QYLPMN5HFIQR7XYA" + '"', "AWS Access Key"),
        ("deploy/id", "-----BEGIN RSA " + "PRIVATE KEY-----", "Private Key"),
        ("docs/setup.md", "postgresql://s4:" + "x7Kq9mZp2w@db.internal/s4", "Basic Auth Credentials"),
        ("src/client.py", "api_key = '" + "vT9kQ2xLr7Bn4Wz8" + "'", "Secret Keyword"),
    ],
)
def test_a_planted_secret_is_found(tmp_path: Path, path: str, planted: str, kind: str) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(f"# before\n{planted}\n")
    done = subprocess.run(
        [PYTHON, REPOSITORY / "requirements/secrets_gate.py", path],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{path}:2: {kind} (" in done.stderr
