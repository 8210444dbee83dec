"""The `s4` executable as a person or a script runs it, and what it left on the server."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s4client import Document, S4AdminClient, S4Client
from tests.factories.deployment import ADMIN_KEY, Deployment, clean_environment

S4 = Path(sys.executable).with_name("s4")
RUN_SECONDS_MAX = 120


def new_tenant(deployment: Deployment, name: str = "Acme") -> dict[str, str]:
    """The environment of a person with the key of a new tenant."""
    with S4AdminClient(deployment.url, api_key=ADMIN_KEY) as admin:
        return {"S4_URL": deployment.url, "S4_TENANT_KEY": admin.create_tenant(name).api_key}


def s4(*arguments: str | Path, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Keyword arguments are `S4_*` variables; no others come through."""
    return subprocess.run(
        [S4, *arguments],
        env=clean_environment() | environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )


def started_s4(*arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
    """The same, to be interrupted."""
    return subprocess.Popen(
        [S4, *arguments],
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that started the tests in the background has them, and so this, ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout; nothing else may stand there."""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def lines_of(printed: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The JSON lines of `s4 upload --json` and `s4 sync --json`: outcomes by name of the file, and the summary."""
    *outcomes, last = map(json.loads, printed.splitlines())
    return {Path(outcome["path"]).name: outcome for outcome in outcomes}, last["summary"]


def documents(tenant: Mapping[str, str]) -> dict[str, Document]:
    """What the server has, by key."""
    with S4Client(tenant["S4_URL"], api_key=tenant["S4_TENANT_KEY"]) as client:
        return {document.key or document.document_id: document for document in client.iter_documents()}


def versions(tenant: Mapping[str, str]) -> dict[str, int | str | None]:
    """The revision of each document, by key: they grow with every change."""
    return {key: document.version for key, document in documents(tenant).items()}
