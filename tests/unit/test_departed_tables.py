"""Every table that names tenants says what becomes of its rows when a tenant is deleted."""

from s4.domains.leaving.queries.erasures import GOES_WITH_ITS_TENANT
from tests.migrations.test_schema import all_models

STAYS = {
    "tenants": "the tombstone itself, with nothing of whom it was",
    "tenant_keys": "emptied by the tombstone, in one transaction with it",
    "tenant_claims": "forgotten after a day, with the others",
    "records": "go by their own chains, or a rebuild would bring them back",
    "commit_tickets": "of late writers, resolved like all others",
    "audit_entries": "append-only: who did what, to whom",
    "usage_ledger": "what it used is still to be billed",
    "usage_rollups": "with the ledger",
    "usage_endpoints": "forgotten with its hours",
    "usage_errors": "the same",
    "storage_classes": "what the bucket holds of it, until it is erased",
    "mails": "what was written to whom, forgotten with the others",
    "notices_told": "as long as the notice itself",
    "service_level_notices": "what it was told of a month, beside the ledger",
}


def test_a_table_with_tenants_is_cleared_when_one_goes_or_says_why_not() -> None:
    with_tenants = {name for name, table in all_models().tables.items() if "tenant_id" in table.columns}
    cleared = {table.name for table in GOES_WITH_ITS_TENANT}
    assert cleared & set(STAYS) == set()
    assert with_tenants == cleared | set(STAYS), "a new table: does it go with its tenant (leaving/queries)?"
