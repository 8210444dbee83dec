"""The glossary of the names within `details`."""

from collections.abc import Mapping

from s4.platform.telemetry.events.model import Field

CONTEXT: Mapping[str, Field] = {
    "job_id": Field("The job in work, in every line that is written for it.", "job_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
}
"""Names that may stand in `details` of any event."""

_DOCUMENT = "doc_bbbbbbbbbbbbbbbbbbbbbbbbbb"
_TENANT = "ten_aaaaaaaaaaaaaaaaaaaaaaaaaa"
_TRACE = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: no'

FIELDS: Mapping[str, Field] = {
    # -- what, and why
    "action": Field("What was being done.", "tenants.delete"),
    "cause": Field("What the library said.", "LanceError: not found"),
    "code": Field("Code of the error: ours, or that of the dependency that gave it.", "unavailable"),
    "error": Field("A sentence, or the class of what was raised.", "The object store does not answer."),
    "exception": Field("Traceback, cut in the middle when it is long.", _TRACE),
    "fault": Field("Kind of the store's failure: `timeout`, `throttled`, `denied` …", "timeout"),
    "kind": Field("Kind of a job, or of a round of maintenance.", "documents.index"),
    "message": Field("A sentence.", "It is larger than memory."),
    "name": Field("Name of what is held.", "backup"),
    "nearest": Field("The setting that was probably meant.", "S4_…"),
    "operation": Field("Request to the object store.", "get"),
    "outcome": Field("How it ended.", "abandoned"),
    "problem": Field("A sentence.", "Entry 7 does not follow entry 6."),
    "problems": Field("Sentences.", ["A search does not find a document any more."]),
    "reason": Field("In one word, or a sentence.", "timeout"),
    "state": Field("Where it stands now.", "at_risk"),
    "step": Field("Step of the schema.", "0001"),
    "text": Field("What was said, as it was.", "thread 'lance' panicked"),
    "variable": Field("Variable of the environment.", "S4_…"),
    "where": Field("`main`, `thread` or `destructor`.", "main"),
    # -- which one
    "backup_id": Field("The backup.", "20260102T030405Z"),
    "delivery_id": Field("The delivery of a webhook.", "dlv_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    "document_id": Field("The document.", _DOCUMENT),
    "generation": Field("How documents are indexed.", "gen_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    "incarnation": Field("Which making of an index table.", "abcdef"),
    "key_prefix": Field("Public part of a key.", "abcdefghijkl"),
    "most_refused_tenant_id": Field("Who was refused most often.", _TENANT),
    "object_key": Field("Key of an object in the bucket.", "tenants/a/documents/b/1/content"),
    "plan_id": Field("The plan.", "basic"),
    "prefix": Field("Where an index table lies in the bucket.", "indices/a/b"),
    "revision": Field("Of a head.", 3),
    "subject": Field("A document, a tenant, or what else a job or a head is about.", _DOCUMENT),
    "term": Field("Which region serves: counted up with each promotion.", 2),
    "version": Field("Of an index table.", 12),
    "webhook_id": Field("The webhook.", "whk_aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    # -- requests
    "bytes_in": Field("Of the request's body.", 5),
    "bytes_out": Field("Of the answer's body.", 11),
    "administrator": Field("The name of an administrator.", "ada"),
    "client_address": Field("Who asked, as far as trusted proxies say.", "192.0.2.1"),
    "duration_ms": Field("To the last byte of the answer, in milliseconds.", 12.5),
    "logged_share": Field("Where a share of such requests is logged: that share. Count the line 1/share times.", 0.1),
    "method": Field("HTTP method.", "POST"),
    "route": Field("Template of the path; `unmatched` for a path that no route knows.", "/api/v1/search"),
    "status": Field("HTTP status.", 200),
    "url": Field("Where it listens.", "http://127.0.0.1:8000"),
    # -- lists
    "documents": Field("The first of their ids.", [_DOCUMENT]),
    "files": Field("The first of their names.", ["data/a.lance"]),
    "tenants": Field("Their ids.", [_TENANT]),
    "unopened": Field("Ids of backups.", ["20260102T030405Z"]),
    "versions": Field("Of an index table.", [11, 12]),
    # -- numbers by name
    "counted": Field("What was found, by kind.", {"documents": 2, "storage_bytes": 12}),
    "counts": Field("Number by what was done.", {"abandoned": 1}),
    "noted": Field("What was noted, by kind.", {"documents": 3, "storage_bytes": 15}),
    "refused": Field("Number by load and reason.", {"search full": 7}),
    # -- numbers
    "archived": Field("Documents that were moved to a colder class.", 1),
    "asked": Field("How often the provider was asked.", 4),
    "attempt": Field("The how manieth it was.", 1),
    "attempts": Field("How many there were.", 2),
    "backups": Field("Number of backups.", 1),
    "batches": Field("Number of batches.", 3),
    "bytes_copied": Field("Bytes that were copied.", 1024),
    "changes": Field("Documents in the batch.", 8),
    "chunks": Field("Passages of the document.", 12),
    "count": Field("How many, also of those that are not named.", 2),
    "crashes": Field("How often its worker was lost.", 1),
    "data_bytes": Field("Bytes that were freed.", 2048),
    "deleted": Field("How many were deleted.", 1),
    "entries": Field("Of the audit trail.", 500),
    "entries_max": Field("As many as may wait.", 10_000),
    "exit_code": Field("Of a process; negative: the signal that ended it.", -9),
    "expected_bytes": Field("Size that was noted.", 10),
    "forgotten": Field("Rows that were too old.", 10),
    "found_bytes": Field("Size that was found.", 0),
    "held": Field("Documents that a legal hold keeps.", 1),
    "its_refusals": Field("How often.", 5),
    "months": Field("Number of months.", 1),
    "objects": Field("Number of objects.", 100),
    "objects_copied": Field("Of these, those that were copied.", 7),
    "pruned": Field("Revisions of documents whose rows went.", 3),
    "refusals": Field("How many credentials were refused.", 2),
    "repairs": Field("How often the table was made anew before.", 1),
    "requests": Field("To the object store.", 50),
    "rows": Field("Of an index table.", 100_000),
    "sampled": Field("Tenants whose storage was noted.", 12),
    "size_bytes": Field("Bytes.", 4096),
    "tokens": Field("Tokens that the provider was paid for.", 300),
    "uses": Field("Keys whose last use was to be noted.", 3),
    "waiting": Field("Entries that wait.", 20),
    # -- times
    "as_of": Field("What was acknowledged before is there (RFC 3339).", "2026-01-02T03:04:05.678901Z"),
    "month": Field("Year and month.", "2026-01"),
    "now": Field("The time that the process goes by (RFC 3339).", "2026-01-02T03:04:05.678901+00:00"),
    "open_seconds": Field("For how long the breaker was open.", 12.5),
    "pause_seconds": Field("Until the next attempt.", 2.5),
    "probe_in_seconds": Field("Until the provider is asked again.", 5.0),
    "seconds": Field("How long.", 1.5),
}
