"""What must hold after a storm, asked of the public API, the bucket and the logs alone.

Nothing here uses the catalog, S4's services or its code for reading the bucket: who checks by what is checked sees
nothing.
"""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from tests.factories import calls
from tests.factories.owners import check_usage
from tests.storm.stage import Stage

BOUND_SECONDS = 60
"""For garbage to go once all is well: uploads that died hold their room for ten seconds, sweeps come every few."""
_LOOK_SECONDS = 0.25


def check_ledger(admin: httpx.Client, tenant: httpx.Client, tenant_id: str) -> None:
    """What the administrator and the tenant are told is used is what is listed, and a recount finds nothing to mend."""
    check_usage(admin, tenant, tenant_id)
    used = tenant.get("/profile").json()["usage"]
    listed = calls.everything(tenant).values()
    assert (used["storage_used"], used["document_count"]) == (sum(each["size"] for each in listed), len(listed))
    recounted = admin.post(f"/admin/tenants/{tenant_id}/recount").json()
    assert not recounted["repaired"], f"the ledger is not the recount: {recounted}"


def check_bucket(stage: Stage, live: dict[str, set[str]]) -> None:
    """Exactly the documents that are listed (`live`, by tenant) have content, and exactly one: within the bound."""
    store = stage.bucket.client(stage.bucket_name)
    give_up_at = time.monotonic() + BOUND_SECONDS
    while orphans := _compared(store, stage.bucket_prefix, live):
        if time.monotonic() > give_up_at:
            print("still to be done:", *stage.waiting(), *stage.sessions(), sep="\n")
            raise AssertionError(f"objects that nobody needs are never collected: {sorted(orphans)}")
        time.sleep(_LOOK_SECONDS)


def _compared(store: S3Store, prefix: str, live: dict[str, set[str]]) -> set[str]:
    """Objects of versions that no newest head names. Raises where a newest head says something else than the API."""
    heads: dict[tuple[str, str], list[str]] = {}
    versions: dict[tuple[str, str], dict[str, list[str]]] = {}
    for path in _keys(store, f"{prefix}/tenants/"):
        parts = path.removeprefix(f"{prefix}/").split("/")
        if parts[2] != "documents":
            continue
        document, kind = (parts[1], parts[3]), parts[4]
        if kind == "head":
            heads.setdefault(document, []).append(path)
        else:
            versions.setdefault(document, {}).setdefault(kind, []).append(path)
    named = {document: _version_named(store, paths) for document, paths in heads.items()}
    for tenant_id, documents in live.items():
        said = {document for (tenant, document), version in named.items() if tenant == tenant_id and version}
        assert said == documents, f"the bucket says other documents than the API: {said ^ documents}"
    lost = [document for document, version in named.items() if version and version not in versions.get(document, {})]
    assert not lost, f"acknowledged, and their bytes are gone: {lost}"
    return {
        path
        for document, of_document in versions.items()
        for version, paths in of_document.items()
        if version != named.get(document)
        for path in paths
    }


def _version_named(store: S3Store, heads: Iterable[str]) -> str | None:
    """By the newest head that is no fence; None for a document that is deleted or never came to be."""
    for path in sorted(heads, reverse=True):
        head = json.loads(bytes(obstore.get(store, path).bytes()))
        if head["state"] != "abandoned":
            return str(head["body"]["version_id"]) if head["state"] == "live" else None
    return None


def _keys(store: S3Store, prefix: str) -> list[str]:
    return [str(entry["path"]) for page in obstore.list(store, prefix) for entry in page]


def check_no_drift(logs: Iterable[Path]) -> None:
    """No regular recount had to put a balance right."""
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            assert not ('"maintenance.mended"' in line and '"maintenance.recount"' in line), f"{log.name}: {line}"


def check_logs(logs: Iterable[Path], secrets: Sequence[str], texts: Sequence[str]) -> int:
    """Every line is JSON, and none holds a secret or a document's text. Answers with the number of lines."""
    lines = 0
    for log in logs:
        text = log.read_text(errors="replace")
        for line in text.splitlines():
            lines += 1
            shown = f"{log.name}: {line[:1000]}"
            try:
                event = json.loads(line)
            except ValueError:
                raise AssertionError(f"not JSON in {shown}") from None
            assert isinstance(event, dict), f"not an event in {shown}"
            assert not any(secret in line for secret in secrets), f"a secret in {shown}"
            assert not any(text in line for text in texts), f"a document's text in {shown}"
    return lines
