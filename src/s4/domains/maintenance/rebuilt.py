"""What becomes of each table of the catalog when it is made anew from the bucket.

A table that is not named here fails a test: whoever adds one says whether what it holds is in the bucket, follows from
what is, or may be forgotten, and why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fate(StrEnum):
    """`EXACTLY`: row by row as it was. `DERIVED`: made anew from what is in the bucket. `FORGOTTEN`: on purpose."""

    EXACTLY = "exactly"
    DERIVED = "derived"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`but`: columns of which something else is true, and what."""

    fate: Fate
    why: str
    but: Mapping[str, str] = field(default_factory=dict)


def _exactly(why: str, **but: str) -> Rebuilt:
    return Rebuilt(Fate.EXACTLY, why, but)


def _derived(why: str, **but: str) -> Rebuilt:
    return Rebuilt(Fate.DERIVED, why, but)


def _forgotten(why: str) -> Rebuilt:
    return Rebuilt(Fate.FORGOTTEN, why)


_OF_THE_INDEX = "Of the text that was taken from it, or of processing it anew."
_ADDED = "What the rebuild asks of the store is added."

TABLES: Mapping[str, Rebuilt] = {
    "records": _exactly("Plans, administrators, webhooks and notices: heads under system/."),
    "tenants": _exactly("Heads under tenants/."),
    "tenant_keys": _exactly("Hashes stand in the tenant's head; child keys, which live for minutes, are in no head."),
    "tenant_generations": _exactly(
        "What a tenant that was moved holds of the index stands in its head.",
        tokens_spent="Forgotten: what was paid lies in the bucket, and is not paid again.",
        stopped="Forgotten: the build finds its budget spent, or not, anew.",
        awaited="Forgotten: a switch that was cut off is asked for again.",
    ),
    "logged_queries": _forgotten(
        "They are for comparing two generations, and in no backup: what people ask is theirs."
    ),
    "tenant_claims": _exactly(
        "Of tenants that were made with an Idempotency-Key: who repeats the request is told of the tenant.",
        created_at="The tenant's own, some milliseconds later.",
        seed="Forgotten: what first keys came of is nowhere but in the catalog.",
    ),
    "documents": _exactly(
        "Heads under tenants/.",
        status=_OF_THE_INDEX,
        stage=_OF_THE_INDEX,
        error_code=_OF_THE_INDEX,
        error_message=_OF_THE_INDEX,
        chunks=_OF_THE_INDEX,
        pages=_OF_THE_INDEX,
        detected_type=_OF_THE_INDEX,
        indexed_at="When its text was taken.",
        searchable_floor="Of a document that was deleted and uploaded anew: rows of before are not its revision's.",
        last_accessed_at="Forgotten: it is exact to the hour, and a write of its own would cost more than it tells.",
    ),
    "document_fields": _exactly(
        "From the metadata in the heads.",
        ordinal="Counts in the order in which a head has the fields: that of their names.",
    ),
    "idempotency_keys": _exactly(
        "Of uploads that are a document's newest revision; one that was changed since answers a repetition anew."
    ),
    "usage_ledger": _exactly(
        "Months and days, as of the last roll-up under tenants/{tenant}/usage/; hours are forgotten.",
        store_writes=_ADDED,
        store_reads=_ADDED,
        store_bytes_written=_ADDED,
        store_bytes_read=_ADDED,
    ),
    "usage_marks": _exactly("With the roll-ups."),
    "audit_entries": _exactly("Sealed batches under system/audit/; what was not sealed yet, a minute's, is lost."),
    "audit_batches": _exactly("The same."),
    "usage_balances": _derived("Sums of what the documents' heads say."),
    "index_tables": _derived("Taken over from indices/, if the files of a version are all there; else made anew."),
    "document_index": _derived("What the rows of those tables hold of the documents' living revisions."),
    "generations": _derived("By the processes that use them."),
    "generation_uses": _derived("By the processes that use them."),
    "usage_samples": _derived("The last hour that was sampled, with the roll-ups: it is not counted twice."),
    "usage_rollups": _derived("From the roll-ups that were found."),
    "call_budgets": _derived("This month's calls, as the ledger has them, are debited."),
    "storage_classes": _derived("By the next listing of the bucket."),
    "deployment": _derived("The epoch and the term, from system/."),
    "jobs": _derived("Every document without an index gets one."),
    "job_turns": _derived("By the workers."),
    "leases": _derived("By the workers: who held one is gone."),
    "schedule": _derived("By the scheduler: everything regular is due."),
    "commit_tickets": _forgotten("Their writers are gone, and nothing was acknowledged that is not in the bucket."),
    "upload_reservations": _forgotten("Their uploads are gone."),
    "call_blocks": _forgotten("The processes that held them are gone."),
    "usage_flushes": _forgotten("They tell batches of processes apart that are gone."),
    "usage_endpoints": _forgotten("Figures by endpoint and hour, for looking at patterns; no bill rests on them."),
    "usage_errors": _forgotten("The same."),
    "checklist": _forgotten("When somebody said that a thing was done: the audit trail has it."),
    "credential_uses": _forgotten("When a key was last used: noted anew with its next use."),
    "audit_checks": _forgotten("What the last verification found: the next one looks at everything."),
    "events": _forgotten("The outbox. Endpoints are told of what happens from now on; what was under way is lost."),
    "webhook_deliveries": _forgotten("With their events."),
    "notices_told": _forgotten("Of what is still to come, tenants are told again rather than not at all."),
    "mails": _forgotten("What was sent is sent; what waited is said again with its notice."),
    "service_level_notices": _forgotten("Of this month, a tenant may be told once more."),
    "backup_runs": _forgotten("When backups were made and tried; the backups themselves say it, and the audit trail."),
    "replica_deletions": _forgotten("What the second bucket has too much is waited for anew before it is deleted."),
}
"""By name."""
