"""What brings a catalog back from its bucket: in workers, and in the commands that do nothing else."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

from s4.domains.audit import Sealer
from s4.domains.indexing import Attachments, Generation, Publisher
from s4.domains.maintenance import Rebuild
from s4.domains.usage import RollUps
from s4.entrypoints.bootstrap.core import Core
from s4.entrypoints.bootstrap.parts import RANDOM
from s4.kernel.ids import base32
from s4.platform.jobs import Held, Leases
from s4.platform.jobs.heartbeat import Heartbeat


def make_rollups(core: Core) -> RollUps:
    every = timedelta(seconds=core.settings.usage_rollup_seconds)
    return RollUps(core.database, core.store, every=every, is_gone=core.tenants.is_deleted)


def make_sealer(core: Core) -> Sealer:
    every = timedelta(seconds=core.settings.audit_seal_seconds)
    return Sealer(core.database, core.store, RANDOM, every=every)


def make_publisher(core: Core, leases: Leases, generation: Generation | None = None) -> Publisher:
    """Into `generation`, or the deployment's own."""
    return Publisher(
        core.database,
        core.store,
        core.vectors,
        core.queue,
        leases,
        core.events,
        generation or core.generation,
        core.suspicions,
        RANDOM,
    )


def make_rebuild(core: Core, publisher: Publisher) -> Rebuild:
    return Rebuild(
        core.database,
        core.store,
        core.chains,
        list(core.records.values()),
        core.tenants,
        Attachments(core.database, core.store, core.vectors, core.queue, publisher, core.generation),
        make_rollups(core),
        core.calls,
        make_sealer(core),
        core.deployment,
    )


@contextlib.asynccontextmanager
async def open_rebuild(core: Core) -> AsyncIterator[Rebuild]:
    """Without a worker: runs no jobs, and holds leases only while it takes tables over. Raises `Unavailable` until the
    generation is known."""
    owner = base32(RANDOM(16))
    lease = timedelta(seconds=core.settings.job_lease_seconds)
    held = Held()
    leases = Leases(core.database, owner=owner, duration=lease, held=held)
    heartbeat = Heartbeat(core.database.url, owner=owner, lease=lease, held=held)
    heartbeat.start()
    try:
        yield make_rebuild(core, make_publisher(core, leases))
    finally:
        heartbeat.stop()
        await leases.release_all()
