"""The only wiring: settings in, running parts out.

`Core` is what every process needs; `WorkerParts` is what only workers need. Both are async context managers that
close what they opened, in reverse order. `parts` makes each part of its settings.
"""

from s4.entrypoints.bootstrap.backup import (
    looked_at,
    make_backups,
    make_rewinder,
    newest_backup_made,
    open_own_store,
    open_place,
    open_restored,
    place_settings,
    require_catalog,
    secret_key_id,
)
from s4.entrypoints.bootstrap.core import (
    Core,
    configure_process,
    find_catalog,
    migrate_database,
    missing_steps,
    open_core,
    traced,
)
from s4.entrypoints.bootstrap.parts import (
    RANDOM,
    database_url,
    make_embedder,
    make_extraction,
    make_places,
    make_vectors,
    metadata_limits,
    reading_limits,
)
from s4.entrypoints.bootstrap.rebuilding import open_rebuild
from s4.entrypoints.bootstrap.region import make_promotions, make_replicator
from s4.entrypoints.bootstrap.reports import make_reports
from s4.entrypoints.bootstrap.worker import WorkerParts, open_worker

__all__ = [
    "RANDOM",
    "Core",
    "WorkerParts",
    "configure_process",
    "database_url",
    "find_catalog",
    "looked_at",
    "make_backups",
    "make_embedder",
    "make_extraction",
    "make_places",
    "make_promotions",
    "make_replicator",
    "make_reports",
    "make_rewinder",
    "make_vectors",
    "metadata_limits",
    "migrate_database",
    "missing_steps",
    "newest_backup_made",
    "open_core",
    "open_own_store",
    "open_place",
    "open_rebuild",
    "open_restored",
    "open_worker",
    "place_settings",
    "reading_limits",
    "require_catalog",
    "secret_key_id",
    "traced",
]
