"""Every key that S4 makes parses, and nothing else does."""

import pytest

from s4.kernel import keys
from s4.kernel.ids import DocumentId, GenerationId, TenantId, VersionId
from s4.kernel.keys import Collection, KeyKind

BODY = "a" * 26
TENANT, DOCUMENT, VERSION = TenantId(f"ten_{BODY}"), DocumentId(f"doc_{BODY}"), VersionId(f"ver_{BODY}")
GENERATION = GenerationId(f"gen_{BODY}")
TABLE = f"indices/{TENANT}/{GENERATION}/chunks.lance"

MADE = {
    keys.DEPLOYMENT: KeyKind.SYSTEM,
    keys.RESTORING: KeyKind.SYSTEM,
    keys.probe("0f"): KeyKind.SYSTEM,
    f"{keys.probes('doctor-0f')}chunks.lance/_versions/1.manifest": KeyKind.SYSTEM,
    keys.audit_batch(1): KeyKind.SYSTEM,
    keys.embedding_model("text-embedding-3-small"): KeyKind.SYSTEM,
    **{keys.system_head(collection, "free", 1): KeyKind.SYSTEM for collection in Collection},
    keys.tenant_head(TENANT, 1): KeyKind.TENANT_HEAD,
    keys.document_head(TENANT, DOCUMENT, 1): KeyKind.DOCUMENT_HEAD,
    keys.content(TENANT, DOCUMENT, VERSION): KeyKind.CONTENT,
    keys.text(TENANT, DOCUMENT, VERSION, 1): KeyKind.TEXT,
    keys.generation_manifest(TENANT, GENERATION): KeyKind.INDEX,
    f"{TABLE}/_versions/18446744073709551609.manifest": KeyKind.INDEX,
    keys.embedding_group(TENANT, "local-minilm-384-1", "ab" * 32): KeyKind.EMBEDDING,
    keys.backup_manifest("20260131T120000Z"): KeyKind.BACKUP,
    keys.backup_part("20260131T120000Z", 1): KeyKind.BACKUP,
    keys.backup_data("ab" * 32): KeyKind.BACKUP,
    keys.backup_erased(TENANT): KeyKind.BACKUP,
    keys.backup_reader("a" * 26): KeyKind.BACKUP,
}
STRANGE = [
    "notes.txt",
    "other/notes.txt",
    "system/notes.txt",
    "system/deployment.json.bak",
    "system/plans/free/head/1.json",
    "system/audit/1.json.zst",
    "system/plans/Free/head/000000000001.json",
    "system/secrets/free/head/000000000001.json",
    f"tenants/{TENANT}/notes.txt",
    f"tenants/{TENANT}/head/1.json",
    "tenants/acme/head/000000000001.json",
    f"tenants/{TENANT}/documents/{DOCUMENT}/{VERSION}/content/more",
    f"tenants/{TENANT}/documents/{DOCUMENT}/{VERSION}/notes.txt",
    f"indices/{TENANT}/{GENERATION}/other.lance/data/1.lance",
    f"indices/{TENANT}/{GENERATION}/chunks.lance",
    f"indices/{TENANT}/gen_1/generation.json",
    f"indices/{TENANT}/embeddings/space/ab/{'cd' * 32}",
    f"indices/{TENANT}/embeddings/space/{'ab' * 32}",
    f"indices/{TENANT}/{GENERATION}//generation.json",
    "backups/20260131/manifest.json",
    "backups/20260131T120000Z/notes.txt",
    "backups/erased/acme.json",
    "backups/readers/acme",
    f"backups/data/cd/{'ab' * 32}",
]


@pytest.mark.parametrize("key", MADE)
def test_a_key_that_is_made_here_says_what_it_is_and_whose(key: str) -> None:
    parsed = keys.parse(key)
    assert parsed is not None
    assert parsed.kind is MADE[key]  # type: ignore[index]
    assert parsed.tenant_id == (None if key.startswith(("system/", "backups/")) else TENANT)


@pytest.mark.parametrize("key", STRANGE)
def test_a_key_that_nothing_here_makes_is_none(key: str) -> None:
    assert keys.parse(key) is None
