"""Fail-points: named steps at which a test breaks the process off, to prove what a crash there leaves behind.

`S4_FAILPOINTS="document.committed=exit"` ends the process at that step without any clean-up, as a power cut would;
`=raise` raises instead; `=stop` stops it once (SIGSTOP), until somebody sends SIGCONT: a zombie, made at an exact step.
Tests in one process arm functions of their own. Unarmed, a fail-point costs one look into an empty mapping.

`FAILPOINTS` is the whole list: tests hold it equal to the calls in the code, and the fault matrix to it.
"""

import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from s4.kernel.errors import InvalidRequest

FAILPOINTS: Mapping[str, str] = {
    # -- start
    "migrate.ran": "The steps of the schema ran in an open transaction; nothing is committed.",
    "migrate.committed": "The schema is new; the catalog belongs to no bucket yet.",
    "deployment.drawn": "The bucket bears its epoch; the catalog does not know it.",
    "deployment.written": "Bucket and catalog bear the same epoch; nothing else was done.",
    # -- upload
    "upload.opened": "Room is reserved; no byte of the content was read.",
    "object.part_written": "A part of a large object is on its way; more follows, and nothing is visible.",
    "upload.grown": "Room for the next part of an upload is reserved; its bytes are not on their way to the store.",
    "upload.received": "All bytes went to the store and the request is complete; the content is not visible.",
    "upload.streamed": "The content is visible in the bucket; no head names it.",
    "upload.released": "A refused upload gave its room back; its bytes may still be there.",
    # -- chains, of documents and of tenants
    "document.sealed": "The ticket is taken and the next head decided; the bucket knows nothing.",
    "document.committed": "The head is in the bucket, or another's is in its place; the catalog does not know.",
    "document.settled": "The catalog moved and the ticket is gone; the caller was not answered.",
    "document.fenced": "A dead writer's revision is decided in the bucket; the catalog does not know.",
    "document.resolved": "A dead writer's ticket is gone and the catalog moved.",
    "document.adopted": "The catalog moved to the newest head in the bucket.",
    "tenant.sealed": "The ticket is taken and the tenant's next head decided; the bucket knows nothing.",
    "tenant.committed": "The tenant's head is in the bucket; the catalog does not know.",
    "tenant.settled": "The tenant is as was asked; the administrator was not answered, and knows no key of a new one.",
    "tenant.fenced": "A dead writer's revision of a tenant is decided in the bucket; the catalog does not know.",
    "tenant.resolved": "A dead writer's ticket is gone and the tenant moved.",
    "tenant.adopted": "The catalog moved to the tenant's newest head in the bucket.",
    # -- records of the operator's configuration
    "record.sealed": "The ticket is taken and the record's next head decided; the bucket knows nothing.",
    "record.committed": "The record's head is in the bucket; the catalog does not know.",
    "record.settled": "The record is as was asked; the administrator was not answered.",
    "record.fenced": "A dead writer's revision of a record is decided in the bucket; the catalog does not know.",
    "record.resolved": "A dead writer's ticket is gone and the record moved.",
    "record.adopted": "The catalog moved to the record's newest head in the bucket.",
    # -- audit
    "audit.written": "A batch of the audit trail is in the bucket; the catalog's rows are not marked.",
    "audit.settled": "A batch's rows are marked and the catalog knows it; the job is not finished.",
    # -- usage
    "rollup.written": "A month's use is in the bucket; the catalog does not know that it is.",
    # -- index
    "index.claimed": "A worker holds the job and has read the document's row; nothing was done.",
    "index.extracted": "The text was taken from the file; it is not stored.",
    "index.text_saved": "The text is stored in the bucket; nothing is embedded.",
    "index.group_answered": "The provider was paid for a group of chunks; its vectors are not stored.",
    "index.group_embedded": "A group's vectors are stored in the bucket.",
    "index.embedded": "All vectors of the document are there; the table knows none of them.",
    "index.described": "The lease on the table is held and its generation described; no row was written.",
    "index.written": "The rows are in the table, or out of it after a delete; the catalog does not know.",
    "index.published": "The catalog names the new rows and the job is done; the replaced rows are still there.",
    "index.replaced_removed": "The replaced rows are out of the table; the catalog names the version before.",
    "index.tidied": "The catalog names the version without the replaced rows.",
    "unindex.claimed": "A worker holds the job of a deleted document; its rows are there.",
    # -- webhooks
    "webhook.claimed": "A delivery is claimed and its attempt counted; nothing was sent.",
    "webhook.answered": "The endpoint has answered; the catalog does not know.",
    # -- maintenance
    "optimize.planned": "The lease on the table is held and dead rows are known; the table was not touched.",
    "optimize.pruned": "The dead rows are out of the table; it is not compacted.",
    "optimize.compacted": "The table is compacted; the catalog names the version before.",
    "optimize.published": "The catalog names the compacted version; the lease is still held.",
    "clean.removed": "Files of superseded versions of a table are gone; their manifests name them, or are gone too.",
    "repair.proven": "A table is known to be damaged; nothing was done about it.",
    "repair.begun": "The catalog names an empty table; the damaged one is still there, and no document has a job.",
    "repair.removed": "The damaged table is gone; no document has a job.",
    "collect.planned": "Garbage of a document is known; no object was deleted.",
    "collect.deleted": "Garbage of a document is deleted; the sweep goes on.",
    "depart.plans_followed": "Plans that have ended are followed by the next; nobody was deleted.",
    "depart.buried": "Tenants whose grace is over are tombstones; the catalog still has what they had.",
    "erase.begun": "A buried tenant is on the list of erasures; its bytes and rows are there.",
    "erase.forgotten": "Some rows of a buried tenant are gone; there may be more, and its bytes are there.",
    "erase.counted": "What a buried tenant has in the bucket is counted and noted; nothing was deleted.",
    "erase.deleted": "A buried tenant's objects are deleted; the list does not say so.",
    "reconcile.released": "The room of overdue uploads is given back; nothing else was reconciled.",
    "reconcile.requeued": "Documents without a job have one; nothing else was reconciled.",
    "reconcile.reindexed": "Documents without an index have a job; old idempotency keys are still there.",
    "rebuild.records": "A new catalog knows what the operator configured, and no tenant.",
    "rebuild.tenants": "A new catalog knows all tenants and no document.",
    "attach.noted": "A new catalog names a table that lay in the bucket; none of its documents is known.",
    "rebuild.attached": "A new catalog names a tenant's tables; none of its documents was looked at.",
    "rebuild.documents": "A new catalog knows every document; what was used and the audit trail are still to come.",
    "rebuild.usage": "A new catalog knows what was used; the audit trail is still to come.",
    "rebuild.audit": "A new catalog knows everything and still says that it is being rebuilt.",
    "rebuild.serving": "The catalog is rebuilt and says so; the job is not finished.",
    # -- backups, by command or job
    "backup.held": "Nothing is removed from the bucket any more; the catalog was not read.",
    "backup.packed": "Small objects lie in the place as one; no list names them.",
    "backup.listed": "A part of the objects is in the place, and listed; there is no backup.",
    "backup.copied": "All objects are in the place, and listed; there is no backup.",
    "backup.ready": "Everything but the manifest is in the place; there is no backup.",
    "backup.written": "There is a backup; nobody was told, and the catalog does not know.",
    "backup.prune_begun": "A backup that expired has no manifest any more; its lists and data are still there.",
    "backup.pruned": "Data that no backup needs is gone; nobody was told.",
    "restore.begun": "The empty bucket is marked as being restored; nothing is in it.",
    "restore.written": "Some objects of the backup are in the bucket, and no process starts on it.",
    "restore.copied": "All objects of the backup are in the bucket; nobody has looked at them.",
    "restore.verified": "The restored bucket is sound; it is still marked as being restored.",
    "rewind.vectors_copied": "A new tenant has the vectors of the one it is made of; no document.",
    "rewind.content_copied": "The bytes of a former state lie under a new version; no head names it.",
    "rewind.committed": "One document is as it was; others are not yet.",
    # -- second region
    "replicate.listed": "What names others and is not in the copy is known; nothing was copied.",
    "replicate.contents": "Contents and files are in the copy; what names them is not.",
    "replicate.names": "Everything is in the copy; nothing was deleted there, and it does not say so.",
    "promote.marked": "The copy bears the next term; the former region was not told, and nobody serves.",
    "promote.fenced": "Both buckets bear the next term, if both were there; the catalog knows nothing of it.",
    "promote.rebuilt": "The catalog is what the copy says; it does not serve yet.",
    "fail_back.put_aside": "What was stranded is put aside; the former bucket is not a whole copy yet.",
}
"""Name to what has happened there, and what has not."""

_armed: dict[str, Callable[[], None]] = {}


class InjectedFault(Exception):
    """Raised at a fail-point that is armed with `raise`."""


def arm(points: Mapping[str, Callable[[], None]]) -> None:
    """Replaces what is armed."""
    _armed.clear()
    _armed.update(points)


def parse(text: str) -> dict[str, Callable[[], None]]:
    """From `"a.b=exit,c.d=raise"`. Raises `InvalidRequest` for a name or an action that does not exist."""
    actions: dict[str, Callable[[str], None]] = {"exit": _exit, "raise": _raise, "stop": _stop}
    points: dict[str, Callable[[], None]] = {}
    for pair in filter(None, text.split(",")):
        name, _, action = pair.partition("=")
        if name not in FAILPOINTS:
            raise InvalidRequest(
                f"S4_FAILPOINTS names {name!r}, which is no fail-point; s4/platform/faults.py lists them."
            )
        if action not in actions:
            raise InvalidRequest(f"S4_FAILPOINTS must say {name}=, followed by one of: {', '.join(actions)}.")
        points[name] = partial(actions[action], name)
    return points


def failpoint(name: str) -> None:
    """A step that can be made to fail."""
    action = _armed.get(name)
    if action is not None:
        action()


def _exit(_: str) -> NoReturn:
    os._exit(137)


def _raise(_: str) -> NoReturn:
    raise InjectedFault


def _stop(name: str) -> None:
    del _armed[name]
    os.kill(os.getpid(), signal.SIGSTOP)
