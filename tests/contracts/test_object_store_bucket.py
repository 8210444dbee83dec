"""A bucket behind a bad network: lost answers, cut downloads, silence, refusals; and what an upload leaves.

Of both kinds, S3 and Google's, where it does not say otherwise.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.objects import (
    CreateOutcome,
    ObjectStore,
    StoreFault,
    StoreUnavailable,
    open_signed,
    open_store,
)
from tests.contracts.object_stores import (
    KEY,
    PART_BYTES,
    counted,
    document,
    gs_settings,
    head_data,
    listed,
    s3_settings,
    streamed,
    uploaded,
)
from tests.fault_proxy import Answer, Fault, FaultProxy, Mode, fault_proxy
from tests.servers import POLICED, GoogleServer, S3Server, free_ports, google_key_file

HANG_TIMEOUT_SECONDS = 1.0

Opener = Callable[..., ObjectStore]


@pytest.fixture(params=["s3", "gs"])
def settings_of(request: pytest.FixtureRequest) -> Callable[..., Settings]:
    """A part of a bucket of its own, each time."""
    if request.param == "gs":
        return partial(gs_settings, request.getfixturevalue("google_server"), request.getfixturevalue("google_bucket"))
    return partial(s3_settings, request.getfixturevalue("s3_server"), request.getfixturevalue("s3_shared_bucket"))


@pytest.fixture
async def proxy(settings_of: Callable[..., Settings]) -> AsyncIterator[FaultProxy]:
    endpoint = settings_of().store_endpoint
    assert endpoint is not None
    async with fault_proxy(endpoint) as opened:
        yield opened


@pytest.fixture
async def through_proxy(proxy: FaultProxy, settings_of: Callable[..., Settings]) -> AsyncIterator[Opener]:
    """Opens one and the same part of the bucket. obstore repeats nothing unless told: what is tested is ours."""
    opened: list[ObjectStore] = []
    own = {"store_url": settings_of().store_url, "store_endpoint": proxy.endpoint, "store_retries_max": 0}

    def open_it(**changes: Any) -> ObjectStore:
        opened.append(open_store(settings_of(**{**own, **changes})))
        return opened[-1]

    yield open_it
    proxy.heal()
    for each in opened:
        await each.aclose()


@pytest.mark.parametrize("mode", [Mode.LOST_REPLY, Mode.HANG_REPLY])
async def test_a_creation_whose_answer_is_lost_is_recognised_as_own(
    proxy: FaultProxy, through_proxy: Opener, mode: Mode
) -> None:
    store = through_proxy(store_timeout_seconds=4.0)
    before = counted("s4_commits_total", outcome="lost_answer")
    fault = proxy.add(Fault(mode, method="PUT", count=1))

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED
    assert fault.hits == 1
    assert await store.create(KEY, head_data("bbb"), commit_id="bbb") is CreateOutcome.TAKEN
    assert counted("s4_commits_total", outcome="lost_answer") == before + 1


async def test_a_refusal_whose_answer_is_lost_is_not_taken_for_success(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    await store.create(KEY, head_data("aaa"), commit_id="aaa")
    proxy.add(Fault(Mode.LOST_REPLY, method="PUT", count=1))

    assert await store.create(KEY, head_data("bbb"), commit_id="bbb") is CreateOutcome.TAKEN


@pytest.mark.parametrize("mode", [Mode.CONFLICT, Mode.UNAVAILABLE, Mode.RESET])
async def test_a_creation_that_the_store_did_not_carry_out_is_repeated(
    proxy: FaultProxy, through_proxy: Opener, mode: Mode
) -> None:
    store = through_proxy()
    proxy.add(Fault(mode, method="PUT", count=2))

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED
    assert await store.get(KEY) == head_data("aaa")


async def test_a_single_signed_request_means_the_object_that_the_store_means(
    s3_server: S3Server, s3_shared_bucket: str
) -> None:
    settings = s3_settings(s3_server, s3_shared_bucket)
    store, signed = open_store(settings), open_signed(settings)
    assert signed is not None
    await store.put(KEY, b"by the store")

    assert (await signed.ask("GET", KEY)).body == b"by the store"
    assert (await signed.ask("PUT", KEY, body=b"by itself")).ok
    assert await store.get(KEY) == b"by itself"
    asked = {"list-type": "2", "prefix": signed.path(keys.TENANTS), "max-keys": "5"}
    listing = (await signed.ask("GET", None, query=asked)).document()
    await store.aclose()

    assert listing is not None
    assert [found.text for found in listing.iterfind("{*}Contents/{*}Key")] == [signed.path(KEY)]


async def test_a_deletion_that_is_denied_inside_a_good_answer_is_told_as_denied(
    s3_server: S3Server, s3_shared_bucket: str
) -> None:
    """A bulk deletion is answered 200 with an error for each key, as S3 does it."""
    place = f"s3://{s3_shared_bucket}/{POLICED}{secrets.token_hex(8)}"
    identity = s3_server.policed(without="s3:DeleteObject")
    store = open_store(s3_settings(identity, s3_shared_bucket, store_url=place))
    await store.put(KEY, b"x")

    with pytest.raises(StoreUnavailable) as denied:
        await store.delete([KEY])
    await store.aclose()

    assert (denied.value.fault, denied.value.details["code"]) == (StoreFault.DENIED, "AccessDenied")


async def test_an_outcome_that_stays_unknown_is_said_to_be_unknown(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    before = counted("s4_commits_total", outcome="unknown")
    proxy.add(Fault(Mode.LOST_REPLY, method="PUT"))
    proxy.add(Fault(Mode.RESET, method="GET"))

    with pytest.raises(StoreUnavailable):
        await store.create(KEY, head_data("aaa"), commit_id="aaa")
    assert counted("s4_commits_total", outcome="unknown") == before + 1


async def test_a_download_that_breaks_off_goes_on_where_it_stopped(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    data = os.urandom(4 * MIB)
    await store.put(KEY, data)
    fault = proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=3))

    assert await streamed(store, KEY) == data
    assert fault.hits == 3
    ranges = [request.range for request in proxy.requests if request.method == "GET"]
    assert ranges[0] == ""
    offsets = [int(each.removeprefix("bytes=").removesuffix("-")) for each in ranges[1:]]
    assert 0 < offsets[0] < offsets[1] < offsets[2]


async def test_a_range_that_breaks_off_goes_on_to_its_own_end(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    data = os.urandom(4 * MIB)
    await store.put(KEY, data)
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=2))

    assert await streamed(store, KEY, 1000, len(data) - 1000) == data[1000:-1000]


async def test_a_download_that_falls_silent_goes_on_where_it_stopped(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS)
    data = os.urandom(2 * MIB)
    await through_proxy().put(KEY, data)
    fault = proxy.add(Fault(Mode.STALL_DOWNLOAD, method="GET", after_bytes=MIB, count=1))

    assert await streamed(store, KEY) == data
    assert fault.hits == 1


async def test_a_download_that_never_gets_on_raises_and_does_not_end_short(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    await store.put(KEY, os.urandom(4 * MIB))
    broken = proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=1))
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=0))
    received: list[bytes] = []

    async def receive() -> None:
        async for chunk in store.stream(KEY):
            received.append(chunk)  # noqa: PERF401 - what came before the error is the point

    with pytest.raises(StoreUnavailable):
        await receive()
    assert broken.hits == 1
    assert 0 < sum(map(len, received)) <= MIB


async def test_an_object_that_changes_during_a_download_is_not_mixed(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    await store.put(KEY, os.urandom(4 * MIB))
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=1))

    download = store.stream(KEY)
    await anext(download)
    await store.put(KEY, os.urandom(4 * MIB))
    with pytest.raises(DataCorrupt, match="changed"):
        async for _ in download:
            pass


async def test_a_store_that_hangs_is_unavailable_before_the_caller_gives_up(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS, store_retries_max=2)
    proxy.add(Fault(Mode.HANG))
    operations: list[Awaitable[object]] = [
        store.get(KEY),
        store.head(KEY),
        store.get_range(KEY, 0, 10),
        streamed(store, KEY),
        listed(store),
        store.list_children(keys.TENANTS),
        store.delete([KEY]),
        store.put(KEY, b"x"),
        store.create(KEY, b"x", commit_id=None),
        uploaded(store, KEY, b"x"),
        uploaded(store, KEY, b"x" * 3 * PART_BYTES),
        store.probe(),
        store.ping(),
    ]
    async with asyncio.timeout(30 * HANG_TIMEOUT_SECONDS):  # never ending, if it ended here
        results = await asyncio.gather(*operations, return_exceptions=True)

    assert [type(result) for result in results] == [StoreUnavailable] * len(operations)


async def test_a_store_that_answers_in_drops_is_unavailable_too(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS)
    await through_proxy().put(KEY, b"x" * 1000)
    proxy.add(Fault(Mode.DRIP_DOWNLOAD, delay_seconds=HANG_TIMEOUT_SECONDS / 10))

    results = await asyncio.gather(store.get(KEY), listed(store), return_exceptions=True)

    faults = [result.fault for result in results if isinstance(result, StoreUnavailable)]
    assert faults == [StoreFault.TIMEOUT] * 2


async def test_a_throttling_store_is_named_so_and_wants_more_time(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    before = counted("s4_store_requests_total", operation="head", outcome="throttled")
    proxy.add(Fault(Mode.UNAVAILABLE))

    with pytest.raises(StoreUnavailable) as raised:
        await store.get(KEY)
    assert raised.value.fault is StoreFault.THROTTLED
    assert raised.value.retry_after > timedelta(seconds=2)

    with pytest.raises(StoreUnavailable):
        await store.head(KEY)
    assert counted("s4_store_requests_total", operation="head", outcome="throttled") == before + 1


async def test_too_many_requests_are_named_so_whatever_the_store_calls_them(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    body = b"<?xml version='1.0'?><Error><Code>OfSomeName</Code></Error>"
    proxy.add(Fault(Mode.ANSWER, answer=lambda: Answer(429, {"Content-Type": "application/xml"}, body)))

    store = through_proxy()
    for operation in (store.get(KEY), store.put(KEY, b"x"), store.delete([KEY]), listed(store)):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.fault is StoreFault.THROTTLED


async def test_a_store_that_is_away_is_unavailable(settings_of: Callable[..., Settings]) -> None:
    store = open_store(settings_of(store_endpoint=f"http://127.0.0.1:{free_ports(1)[0]}", store_retries_max=1))

    for operation in (store.get(KEY), store.ping(), store.create(KEY, b"x", commit_id=None)):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.retry_after > timedelta(0)
    await store.aclose()


async def test_refused_credentials_name_the_operation_and_the_code_and_no_secret(
    s3_server: S3Server, s3_shared_bucket: str
) -> None:
    store = open_store(s3_settings(s3_server, s3_shared_bucket, store_secret_access_key="wrong"))

    with pytest.raises(StoreUnavailable) as raised:
        await store.create(KEY, b"x", commit_id=None)
    assert raised.value.details == {
        "fault": "denied",
        "operation": "create",
        "code": "SignatureDoesNotMatch",
    }
    await store.aclose()


async def test_a_key_that_google_does_not_know_is_denied(
    google_server: GoogleServer, google_bucket: str, tmp_path: Path
) -> None:
    stranger = google_key_file(tmp_path / "key.json", "s4", generate_private_key(public_exponent=65537, key_size=2048))
    store = open_store(gs_settings(google_server, google_bucket, store_google_key_file=stranger))

    for operation in (store.create(KEY, b"x", commit_id=None), store.get(KEY), listed(store), store.delete([KEY])):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.fault is StoreFault.DENIED
        assert raised.value.details["code"] == "AuthenticationRequired"
    await store.aclose()


async def test_without_a_key_the_store_comes_as_the_machine_that_it_runs_on(
    google_server: GoogleServer, google_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = gs_settings(google_server, google_bucket, store_google_key_file=None, store_retries_max=0)
    monkeypatch.setenv("GCE_METADATA_HOST", google_server.metadata_host)
    store = open_store(settings)
    await store.put(KEY, b"by the machine")
    assert await store.get(KEY) == b"by the machine"
    await store.aclose()

    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, f"127.0.0.1:{free_ports(1)[0]}")
    nobody = open_store(settings)
    with pytest.raises(StoreUnavailable) as raised:
        await nobody.get(KEY)
    assert (raised.value.fault, raised.value.details["code"]) == (StoreFault.DENIED, "NoCredentials")
    await nobody.aclose()


async def test_a_deletion_of_many_goes_on_behind_one_that_is_missing_and_tells_what_is_denied(
    google_server: GoogleServer, google_bucket: str
) -> None:
    """Google deletes one object per request, and answers 404 where there is none."""
    settings = gs_settings(google_server, google_bucket)
    store = open_store(settings)
    await store.put(document(2), b"x")
    await store.delete([document(number) for number in range(100)])
    assert await listed(store) == []
    await store.aclose()

    without = google_server.key_file(without="storage.objects.delete")
    denied = open_store(gs_settings(google_server, google_bucket, store_google_key_file=without))
    with pytest.raises(StoreUnavailable) as raised:
        await denied.delete([document(1)])
    assert (raised.value.fault, raised.value.details["code"]) == (StoreFault.DENIED, "AccessDenied")
    await denied.aclose()


async def test_a_bucket_that_does_not_exist_is_not_an_empty_store(settings_of: Callable[..., Settings]) -> None:
    scheme, _, _ = (settings_of().store_url or "").partition(":")
    store = open_store(settings_of(store_url=f"{scheme}://s4-no-such-bucket"))

    for operation in (store.get(KEY), store.ping(), listed(store)):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.details["code"] == "NoSuchBucket"
    await store.aclose()


async def test_an_upload_costs_one_request_up_to_one_part_and_is_aborted_at_the_store(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()

    await uploaded(store, KEY, b"x" * PART_BYTES)
    assert [request.method for request in proxy.requests] == ["PUT"]

    proxy.requests.clear()
    async with store.upload(KEY) as upload:
        await upload.write(b"x" * 3 * PART_BYTES)
    assert proxy.seen("DELETE", "uploadId=") == 1


async def test_an_upload_whose_part_or_completion_fails_is_aborted_at_the_store(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    for number, method, path in ((1, "PUT", "partNumber=2"), (2, "POST", "uploadId=")):
        fault = proxy.add(Fault(Mode.UNAVAILABLE, method=method, path=path))
        proxy.requests.clear()
        with pytest.raises(StoreUnavailable):
            await uploaded(store, document(number), b"x" * 3 * PART_BYTES)
        assert fault.hits > 0
        assert proxy.seen("DELETE", "uploadId=") == 1
        proxy.heal()
    assert await listed(store) == []


async def test_a_completion_whose_caller_is_cancelled_is_awaited_at_the_end_and_leaves_no_parts(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy(store_timeout_seconds=4.0)  # time for the parts, even on a busy machine
    fault = proxy.add(Fault(Mode.HANG, method="POST", path="uploadId="))
    task = asyncio.create_task(uploaded(store, KEY, b"x" * 3 * PART_BYTES))
    async with asyncio.timeout(60):  # an upload that fails before its completion never gets there
        await fault.hit.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await store.aclose()

    assert proxy.seen("DELETE", "uploadId=") == 1, "cancelled, it would have left its parts in the bucket"
