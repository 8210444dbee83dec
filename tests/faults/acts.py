"""Everything that S4 does in steps, with the fail-points that it passes, in the API and in the worker.

`test_the_acts_pass_exactly_the_points_that_they_say` holds these lists against what really happens, and another test
holds all of them together against the registry: a new fail-point must find its acts here, or the tests fail.
"""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from s4.domains.audit.sealer import SEAL
from s4.domains.maintenance import service as maintenance
from s4.domains.maintenance.replication import REPLICATE
from s4.domains.usage.rollups import ROLL_UP
from tests.faults.deeds import (
    AFTER,
    BEFORE,
    LARGE,
    LATE,
    NEIGHBOUR,
    behind_its_bucket,
    compact,
    create_plan,
    create_tenant,
    dead_creator,
    dead_planner,
    dead_writer,
    delete,
    delete_all,
    delete_tenant,
    look_at_index,
    only_start,
    patch,
    ping_webhook,
    put_again,
    put_neighbour,
    reprocess,
    restore,
    sweep,
    upload,
    upload_large,
    upload_refused,
    upload_undeclared,
    with_a_damaged_index,
    with_a_second_bucket,
    with_a_webhook,
    with_an_archived_one,
    with_another,
    with_dead_rows,
    with_documents,
    with_garbage,
    with_losses,
    with_one_that_leaves,
    without_catalog,
)
from tests.faults.invariants import Expected
from tests.faults.scene import Scene


def nothing(_: Scene) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Act:
    """`do` is asked of an API by its address; jobs that follow are the worker's. `prepare` makes the state before."""

    name: str
    do: Callable[[Scene, str], httpx.Response | None]
    expected: Expected
    in_api: tuple[str, ...] = ()
    in_worker: tuple[str, ...] = ()
    prepare: Callable[[Scene], None] = nothing
    may_answer: frozenset[int] = frozenset()
    """When repeated. Empty: nobody repeats it, the system itself comes back to it."""
    has_idempotency_key: bool = False
    may_pass: frozenset[str] = frozenset()
    """Points that depend on the order in which jobs run."""

    @property
    def steps(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.in_api, *self.in_worker)))


# -- the list

SEALING = ("document.sealed", "document.committed", "document.settled")
RECEIVING = ("upload.opened", "upload.received", "upload.streamed")
RESOLVING = ("document.fenced", "document.resolved")
EXTRACTING = ("index.claimed", "index.extracted", "index.text_saved")
EMBEDDING = ("index.group_answered", "index.group_embedded")
WRITING = ("index.described", "index.written", "index.published")
TIDYING = ("index.replaced_removed", "index.tidied")

UNTOUCHED: dict[str | None, str | bytes] = {"k": BEFORE, "n": NEIGHBOUR}
REPLACED: dict[str | None, str | bytes] = {"k": AFTER, "n": NEIGHBOUR}

ACTS = [
    Act(
        "upload",
        upload,
        Expected(UNTOUCHED | {None: AFTER}, frozenset({None})),
        in_api=(*RECEIVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-large",
        upload_large,
        Expected(UNTOUCHED | {"large": LARGE}, frozenset({"large"}), frozenset({"large"})),
        in_api=("object.part_written", *RECEIVING, *SEALING),
        in_worker=("index.claimed",),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-undeclared",
        upload_undeclared,
        Expected(UNTOUCHED | {"large": LARGE}, frozenset({"large"}), frozenset({"large"})),
        in_api=("object.part_written", "upload.grown", *RECEIVING, *SEALING),
        in_worker=("index.claimed",),
        prepare=with_documents,
        may_answer=frozenset({201}),
        has_idempotency_key=True,
    ),
    Act(
        "upload-refused",
        upload_refused,
        Expected(UNTOUCHED),
        in_api=("upload.opened", "upload.released"),
        prepare=with_documents,
        may_answer=frozenset({400}),
    ),
    Act(
        "replace",
        put_again,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_api=(*RECEIVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=with_documents,
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "patch",
        patch,
        Expected(UNTOUCHED, frozenset({"k"})),
        in_api=SEALING,
        prepare=with_documents,
        may_answer=frozenset({200}),
    ),
    Act(
        "reprocess",
        reprocess,
        Expected(UNTOUCHED),
        in_api=SEALING,
        in_worker=(*EXTRACTING, "index.embedded", *WRITING, *TIDYING),
        prepare=with_documents,
        may_answer=frozenset({202}),
    ),
    Act(
        "restore",
        restore,
        Expected(UNTOUCHED),
        in_api=SEALING,
        in_worker=(*EXTRACTING, "index.embedded", *WRITING, *TIDYING),
        prepare=with_an_archived_one,
        may_answer=frozenset({202, 409}),
    ),
    Act(
        "delete",
        delete,
        Expected({"n": NEIGHBOUR}, gone=("ancient",)),
        in_api=SEALING,
        in_worker=("unindex.claimed", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({204, 404}),
    ),
    Act(
        "delete-all",
        delete_all,
        Expected({}, gone=("ancient", "innocent")),
        in_api=SEALING,
        in_worker=("unindex.claimed", *WRITING),
        prepare=with_documents,
        may_answer=frozenset({200}),
    ),
    Act(
        "create-tenant",
        create_tenant,
        Expected(UNTOUCHED),
        in_api=("tenant.sealed", "tenant.committed", "tenant.settled"),
        prepare=with_documents,
        may_answer=frozenset({201}),
    ),
    Act(
        "delete-tenant",
        delete_tenant,
        Expected(UNTOUCHED, alone=True),
        in_api=("tenant.sealed", "tenant.committed", "tenant.settled"),
        prepare=with_another,
        may_answer=frozenset({202}),
    ),
    Act(
        "depart",
        sweep(maintenance.DEPARTURES),
        Expected(UNTOUCHED, alone=True),
        in_worker=(
            *("depart.plans_followed", "tenant.sealed", "tenant.committed", "tenant.settled"),
            *("record.sealed", "record.committed", "record.settled", "erase.begun", "depart.buried"),
            *("erase.forgotten", "erase.counted", "erase.deleted"),
        ),
        prepare=with_one_that_leaves,
    ),
    Act(
        "create-plan",
        create_plan,
        Expected(UNTOUCHED),
        in_api=("record.sealed", "record.committed", "record.settled"),
        prepare=with_documents,
        may_answer=frozenset({201, 409}),
    ),
    Act(
        "ping-webhook",
        ping_webhook,
        Expected(UNTOUCHED),
        in_worker=("webhook.claimed", "webhook.answered"),
        prepare=with_a_webhook,
        may_answer=frozenset({202}),
    ),
    Act(
        "take-over",  # from a writer that died with its ticket
        put_again,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient", "unanswered")),
        in_api=(*RECEIVING, *RESOLVING, *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=dead_writer("document.sealed"),
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "catch-up",  # with a bucket that knows more
        put_neighbour,
        Expected({"k": BEFORE, "n": AFTER}, frozenset({"n"}), gone=("innocent",)),
        in_api=(*RECEIVING, "document.adopted", *SEALING),
        in_worker=(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=behind_its_bucket,
        may_answer=frozenset({200}),
        has_idempotency_key=True,
    ),
    Act(
        "resolve-sealed",
        sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED, gone=("unanswered",)),
        in_worker=RESOLVING,
        prepare=dead_writer("document.sealed"),
    ),
    Act(
        "resolve-committed",
        sweep(maintenance.RESOLVE),
        Expected({"k": "the unanswered wording", "n": NEIGHBOUR}, gone=("ancient",)),
        in_worker=(*RESOLVING, *EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        prepare=dead_writer("document.committed"),
    ),
    Act(
        "resolve-tenant",
        sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED),
        in_worker=("tenant.fenced", "tenant.resolved"),
        prepare=dead_creator,
    ),
    Act(
        "resolve-plan",
        sweep(maintenance.RESOLVE),
        Expected(UNTOUCHED),
        in_worker=("record.fenced", "record.resolved"),
        prepare=dead_planner,
    ),
    Act(
        "seal-audit",
        sweep(SEAL),
        Expected(UNTOUCHED),
        in_worker=("audit.written", "audit.settled"),
        prepare=with_documents,
    ),
    Act(
        "roll-up",
        sweep(ROLL_UP),
        Expected(UNTOUCHED),
        in_worker=("rollup.written",),
        prepare=with_documents,
    ),
    Act(
        "replicate",
        sweep(REPLICATE),
        Expected(UNTOUCHED),
        in_worker=("replicate.listed", "replicate.contents", "replicate.names"),
        prepare=with_a_second_bucket,
    ),
    Act(
        "collect",
        sweep(maintenance.COLLECT),
        Expected(REPLACED, frozenset({"k", "n"}), gone=("ancient", "doomed")),
        in_worker=("tenant.adopted", "document.adopted", "collect.planned", "collect.deleted"),
        prepare=with_garbage,
    ),
    Act(
        "reconcile",
        sweep(maintenance.RECONCILE),
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_worker=(
            *("reconcile.released", "reconcile.requeued", "reconcile.reindexed"),
            *(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING, *TIDYING),
        ),
        prepare=with_losses,
    ),
    Act(
        "compact",
        compact,
        Expected(REPLACED, frozenset({"k"}), gone=("ancient",)),
        in_worker=("optimize.planned", "optimize.pruned", "optimize.compacted", "optimize.published", "clean.removed"),
        prepare=with_dead_rows,
    ),
    Act(
        "repair",
        look_at_index,
        Expected(UNTOUCHED),
        in_worker=(
            *("repair.proven", "repair.begun", "repair.removed"),
            *("index.claimed", "index.embedded", *WRITING),
        ),
        prepare=with_a_damaged_index,
    ),
    Act(
        "rebuild",
        only_start,
        Expected(REPLACED | {"late": LATE}, frozenset({"k", "n"}), gone=("ancient", "doomed")),
        in_worker=(
            *("deployment.drawn", "deployment.written"),
            *("record.adopted", "rebuild.records", "tenant.adopted", "rebuild.tenants"),
            *("attach.noted", "rebuild.attached", "document.adopted", "rebuild.documents"),
            *("rebuild.usage", "rebuild.audit", "rebuild.serving"),
            *(*EXTRACTING, *EMBEDDING, "index.embedded", *WRITING),
        ),
        prepare=without_catalog,
        may_pass=frozenset({"unindex.claimed"}),
    ),
]
REBUILD = ACTS[-1]
REBUILDING = (
    *("record.adopted", "rebuild.records", "tenant.adopted", "rebuild.tenants"),
    *("attach.noted", "rebuild.attached", "document.adopted", "rebuild.documents"),
    *("rebuild.usage", "rebuild.audit", "rebuild.serving"),
)
BY_COMMANDS: tuple[str, ...] = (
    *("backup.held", "backup.packed", "backup.listed", "backup.copied", "backup.ready", "backup.written"),
    *("backup.prune_begun", "backup.pruned"),
    *("restore.begun", "restore.written", "restore.copied", "restore.verified"),
    *("rewind.vectors_copied", "rewind.content_copied", "rewind.committed"),
)
"""Of backups and restores: `test_backup_crashes.py` ends commands there."""
ONCE = ("attach.noted", "document.adopted")
"""Of these: what was done then is found done by whoever comes next."""
COMMANDED = ("promote.marked", "promote.fenced", "promote.rebuilt", "fail_back.put_aside")
"""What only commands pass: tests/faults/test_second_region.py."""
STARTING = ("migrate.ran", "migrate.committed", "deployment.drawn", "deployment.written")
"""Of the first start on an empty machine."""
