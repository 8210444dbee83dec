"""After an outage nobody comes back at the same moment as everybody else: neither what S4 asks of its store, nor jobs
that failed together. (Clients: `unit/test_client_flow.py`; the provider: `unit/test_embedding_openai.py`.)"""

import asyncio
import secrets
from collections import Counter
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from s4.kernel.errors import Unavailable
from s4.platform.database import Connection
from s4.platform.jobs import JobHandler, JobRequest, JobRun, Queue, Worker, WorkerLimits
from s4.platform.jobs.models import jobs
from s4.platform.objects import StoreFault, StoreUnavailable, open_store
from tests.contracts.object_stores import document, s3_settings
from tests.factories.catalog import open_catalog, sqlite_url
from tests.fault_proxy import Fault, Mode, fault_proxy
from tests.servers import S3Server

CALLERS, RETRIES = 60, 3
HOUR = timedelta(hours=1)


async def test_a_store_that_throttles_is_asked_a_bounded_number_of_times_and_never_by_all_at_once(
    s3_server: S3Server, s3_shared_bucket: str
) -> None:
    async with fault_proxy(s3_server.endpoint) as proxy:
        proxy.add(Fault(Mode.UNAVAILABLE))
        settings = s3_settings(s3_server, s3_shared_bucket, store_endpoint=proxy.endpoint, store_retries_max=RETRIES)
        store = open_store(settings)
        wanted = [document(number) for number in range(CALLERS)]
        outcomes = await asyncio.gather(*(store.get(key) for key in wanted), return_exceptions=True)
        await store.aclose()

    assert {type(each) for each in outcomes} == {StoreUnavailable}
    assert {each.fault for each in outcomes if isinstance(each, StoreUnavailable)} == {StoreFault.THROTTLED}
    assert len(proxy.requests) == CALLERS * (1 + RETRIES)
    came = [[each.at for each in proxy.requests if each.path.endswith(f"/{key}")] for key in wanted]
    crowds = []
    for wave in range(RETRIES):
        pauses = Counter(int((times[wave + 1] - times[wave]) / 0.01) for times in came)
        crowds.append(max(pauses.values()))
    assert min(crowds) < CALLERS / 2, f"of {CALLERS} so many waited the same hundredth of a second: {crowds}"


async def test_jobs_that_failed_together_come_back_one_after_the_other(tmp_path: Path) -> None:
    """Their dependency asks for an hour, of each the same."""
    asked = HOUR

    async def unavailable(_: JobRun) -> bool:
        raise Unavailable("The store is down.", retry_after=asked)

    async def enqueue(connection: Connection) -> None:
        for number in range(40):
            await queue.enqueue(connection, JobRequest("test.job", "t", f"job{number}", {}))

    catalog = open_catalog(sqlite_url(tmp_path))
    queue = Queue(catalog, secrets.token_bytes)
    tick = timedelta(milliseconds=1)
    limits = WorkerLimits(
        concurrency=40, lease=HOUR, poll=tick, attempts_max=3, backoff=tick, backoff_max=tick, patience=HOUR
    )
    await catalog.transact(enqueue)
    async with catalog.read() as connection:
        began = await catalog.now(connection)

    await Worker(catalog, queue, {"test.job": JobHandler(unavailable)}, owner="w", limits=limits).run_until_idle()

    async with catalog.read() as connection:
        now = await catalog.now(connection)
        times = sorted((await connection.execute(sa.select(jobs.c.run_at))).scalars())
    await catalog.aclose()
    assert times[0] >= began + asked
    spread = (times[-1] - times[0]) - (now - began)  # what is left without the time that failing took
    assert spread > asked / 20
