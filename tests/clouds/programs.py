"""Runs the programs of requirements/clouds.lock."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLOUDS = ROOT / ".venv-clouds" / "bin"
"""`make clouds` makes it."""
HERE = Path(__file__).parent


def environment(endpoint: str, region: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "an-identity",
        "AWS_SECRET_ACCESS_KEY": "its-key",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": region,
        "PATH": f"{CLOUDS}:/usr/bin:/bin",
    }


def run(*command: str | Path, given: str | None = None, **names: str) -> subprocess.CompletedProcess[str]:
    """A program of that environment, or one by its path; `names` go to its environment."""
    program, *arguments = command
    return subprocess.run(
        [CLOUDS / program, *arguments],
        env={"PATH": f"{CLOUDS}:/usr/bin:/bin"} | names,
        input=given, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def aws(endpoint: str, *arguments: str | Path, region: str = "us-east-1") -> str:
    """Amazon's command line against a server; what it prints."""
    done = run("aws", "--output", "json", *arguments, **environment(endpoint, region))
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(endpoint: str, *asked: tuple[str, str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls `(service, operation, arguments)` one after the other; the answers."""
    done = run("python", HERE / "amazon_calls.py", given=json.dumps(asked), **environment(endpoint, "us-east-1"))
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers
