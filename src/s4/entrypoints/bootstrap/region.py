"""What copies a bucket into another, and what changes which of them serves."""

from datetime import timedelta

from s4.domains.maintenance import Replicator
from s4.domains.maintenance.promotion import Promotions
from s4.entrypoints.bootstrap.core import Core
from s4.entrypoints.bootstrap.parts import RANDOM


def make_replicator(core: Core) -> Replicator:
    return Replicator(
        core.database,
        core.store,
        core.replica,
        core.deployment,
        every=timedelta(seconds=core.settings.replicate_seconds),
        deletions_after=timedelta(hours=core.settings.replica_deletions_hours),
    )


def make_promotions(core: Core) -> Promotions:
    return Promotions(core.database, core.store, core.replica, core.deployment, RANDOM)
