"""Makes a golden deployment: run once, with the release whose files it keeps, before the first that writes others.

    python -m tests.golden.make 0.1

writes `tests/golden/0.1.tar.zst`, the data directory of a deployment that has had something of everything, and
`0.1.json`, what is known of it. Nothing of it is ever made again: `SHA256SUMS` holds the tests to that.
"""

import asyncio
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from s4.domains.access.keys import Manager, NewKey
from s4.domains.announcements.model import WindowPlan
from s4.domains.audit import Sealer
from s4.domains.plans.model import Plan
from s4.domains.tenants import PlanChange
from s4.domains.webhooks.model import NewWebhook
from s4.entrypoints.bootstrap.parts import RANDOM
from s4.kernel.context import Restriction
from s4.kernel.permissions import AdminRole, Permission
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

HERE = Path(__file__).parent
SETTINGS = {
    "admin_api_key": "golden-admin-key-0123456789-abcdefghij",
    "secret_key": "golden-secret-key-0123456789-abcdefghij",
    "tenant_delete_grace_days": 0,
}
HOOK_SECRET = "golden-hook-secret-0123456789"
FAR = datetime(2098, 1, 1, tzinfo=UTC)
PAGES = "\f".join(["Tides follow the moon.", "Ebb and flow come twice a day.", "Springs are highest."])


async def live(house: House) -> dict[str, Any]:
    """Something of everything. Answers with what is known of it."""
    await house.core.plans.create(OWNER, Plan("gold", "Gold", 1 << 30, 5000, retention_days=400, price_monthly=49))
    acme, gone = await house.tenant("Acme"), await house.tenant("Gone")
    await house.core.lifecycle.change_plan(OWNER, acme.context.tenant_id, PlanChange("gold"))
    await house.put(acme, "tides", PAGES, {"year": 2026, "tags": ["sea", "moon"], "deep": {"a": None}})
    await house.put(acme, "replaced", "The ancient wording.")
    await house.put(acme, "deleted", "Nobody reads this.")
    await house.put(acme, "empty", b"")
    await house.put(gone, "lost", "Nothing of this stays.")
    await house.work()
    replaced = await house.put(acme, "replaced", "The modern wording.")
    await house.core.documents.patch_metadata(acme.context, replaced.document_id, {"patched": True})
    for document in await house.all(acme):
        if document.key == "deleted":
            await house.core.documents.delete(acme.context, document.document_id)
    await house.core.lifecycle.delete(OWNER, gone.context.tenant_id)
    await house.work()
    # Of an event that never comes, so that nothing is sent.
    hook = NewWebhook("https://hooks.example.com/golden", ("tenant.suspended",), secret=HOOK_SECRET)
    await house.core.webhooks.create_for(OWNER, acme.context.tenant_id, hook)
    await house.core.administrators.create(OWNER, "ada", AdminRole.AUDITOR, expires_at=None)
    starts = datetime(2099, 1, 1, tzinfo=UTC)
    await house.core.notices.schedule(OWNER, WindowPlan(starts_at=starts, ends_at=starts + timedelta(hours=1)))
    bound = NewKey("bound", frozenset({Permission.SEARCH}), None, Restriction.of("ti", {"year": 2026}))
    await house.core.keys.create(Manager.of_admin(OWNER, acme.context.tenant_id), bound)
    return await known(house, acme)


async def known(house: House, acme: Tenant) -> dict[str, Any]:
    """What must be the same whoever reads it."""
    documents = {
        document.key: {
            "document_id": document.document_id,
            "revision": document.revision,
            "status": document.status.value,
            "sha256": document.sha256,
            "metadata": document.metadata,
            "uploaded_at": document.uploaded_at.isoformat(),
        }
        for document in await house.all(acme)
    }
    hooks = await house.core.webhooks.all_of(OWNER, acme.context.tenant_id)
    keys = await house.core.keys.all(acme.context.tenant_id)
    tenant = await house.core.tenants.get(acme.context.tenant_id)
    return {
        "key": acme.key,
        "tenant": {"id": tenant.tenant_id, "name": tenant.name, "plan": tenant.plan_id, "bytes": tenant.stored_bytes},
        "webhook_secrets": [house.core.webhooks.signing_secrets(hook, FAR) for hook in hooks],
        "administrators": [each.name for each in await house.core.administrators.all()],
        "windows": len(await house.core.notices.windows(OWNER, past=True)),
        "keys": [(key.name, key.restriction.key_prefix) for key in keys],
        "plan": {"retention_days": (await house.core.plans.get("gold")).retention_days},
        "documents": documents,
        "found": {word: sorted(await house.found(acme, word)) for word in ("moon", "wording", "ancient", "reads")},
    }


def packed(folder: Path) -> bytes:
    """A tar of the folder, compressed; without names of users and the like."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name not in ("admin.key", "secret.key"):
                info = tarfile.TarInfo(str(path.relative_to(folder)))
                info.size = path.stat().st_size
                archive.addfile(info, io.BytesIO(path.read_bytes()))
    return zstandard.ZstdCompressor(level=19).compress(buffer.getvalue())


def unpacked(release: str, folder: Path) -> dict[str, Any]:
    """Lays the deployment of a release into `folder`. Answers with what is known of it."""
    data = zstandard.ZstdDecompressor().decompress((HERE / f"{release}.tar.zst").read_bytes(), max_output_size=1 << 30)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    said: dict[str, Any] = json.loads((HERE / f"{release}.json").read_text(encoding="utf-8"))
    return said


async def make(release: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_house(Path(folder), **SETTINGS) as house:
            said = await live(house)
            await Sealer(house.core.database, house.core.store, RANDOM, every=timedelta(1)).seal()
        (HERE / f"{release}.tar.zst").write_bytes(packed(Path(folder)))
    (HERE / f"{release}.json").write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    names = sorted(path.name for path in HERE.iterdir() if path.suffix in (".zst", ".json"))
    sums = [f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (HERE / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1]))
