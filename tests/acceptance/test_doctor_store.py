"""`s4 doctor store` on a bucket that is well, and on one with each thing wrong with it that it knows."""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import Configuration, complete, read_configuration
from s4.entrypoints.connections import look
from s4.entrypoints.doctor import Check, Verdict
from s4.entrypoints.doctor.store import behaviour, bench, bucket, examine, policy
from s4.entrypoints.doctor.store.actions import ACTIONS
from s4.entrypoints.doctor.store.behaviour import carried_out
from s4.entrypoints.doctor.store.bench import Bench, open_bench
from s4.entrypoints.doctor.store.identity import identity
from s4.kernel import keys
from s4.kernel.errors import Conflict
from s4.kernel.units import KIB
from s4.platform.objects import NO_CONDITIONS, open_signed, open_store
from tests.acceptance.conftest import Command
from tests.contracts.object_stores import s3_settings
from tests.factories.command_line import S4
from tests.factories.deployment import clean_environment
from tests.factories.examined import said, verdicts
from tests.factories.house import open_house
from tests.factories.store_actions import TAKEN_AWAY, USER, action_of, take_away
from tests.fault_proxy import Answer, Fault, FaultProxy, Mode, fault_proxy
from tests.servers import POLICED, S3Server

pytestmark = pytest.mark.processes

BEHAVIOUR = {
    "conditional_writes", "conditional_race", "list_after_write", "multipart", "ranged_reads", "index_table", "abort",
}  # fmt: skip
PLAUSIBLE = {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
"""Headers without which obstore takes no answer for an object's."""
NAMES = [action.name for action in ACTIONS]


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(s3_server.endpoint) as opened:
        yield opened


@pytest.fixture
def prefix() -> str:
    return f"{POLICED}{secrets.token_hex(8)}/nested"


@pytest.fixture
def configured(
    proxy: FaultProxy, s3_server: S3Server, s3_shared_bucket: str, prefix: str, tmp_path: Path
) -> Callable[..., Configuration]:
    """What `s4 doctor store` would read: one and the same part of the bucket, through the proxy."""

    def read(server: S3Server = s3_server, **changes: Any) -> Configuration:
        flags: dict[str, Any] = {
            "data_dir": tmp_path,
            "store_url": f"s3://{s3_shared_bucket}/{prefix}",
            "store_endpoint": proxy.endpoint,
            "store_access_key_id": server.access_key,
            "store_secret_access_key": server.secret_key,
            "store_retries_max": 0,
        }
        return read_configuration(**{**flags, **changes})

    return read


@pytest.fixture
def left_behind(s3_server: S3Server, s3_shared_bucket: str, prefix: str) -> Callable[[], Any]:
    """What lies in that part of the bucket, seen past the proxy."""

    async def look_there() -> list[str]:
        store = open_store(s3_settings(s3_server, s3_shared_bucket, store_url=f"s3://{s3_shared_bucket}/{prefix}"))
        try:
            return [info.key async for info in store.list(keys.EVERYTHING)]
        finally:
            await store.aclose()

    return look_there


async def tried(attempt: Callable[[Bench], Awaitable[Check]], configuration: Configuration) -> Check:
    """One check alone."""
    async with open_bench(configuration.settings) as bench:
        try:
            return await carried_out("tried", attempt, bench)
        finally:
            await bench.clear()


async def test_a_bucket_that_is_well_is_found_well_under_the_policy_and_left_as_it_was(
    configured: Callable[..., Configuration], s3_server: S3Server, left_behind: Callable[[], Any]
) -> None:
    report = await examine(configured(s3_server.policed()))

    found = verdicts(report)
    assert {found[name] for name in {"answers", "clock", "identity", *BEHAVIOUR, *NAMES}} == {Verdict.OK}
    assert {found[name] for name in ("versioning", "encryption", "lifecycle")} == {Verdict.UNKNOWN}
    assert "s3:GetLifecycleConfiguration is missing, which S4 does not need" in said(report, "lifecycle")
    assert report.exit_code == 0
    assert all(check.advice for check in report.checks if check.verdict is not Verdict.OK)
    assert report.left == ()
    assert await left_behind() == []


@pytest.mark.parametrize("action", NAMES)
async def test_each_action_of_the_policy_that_is_taken_away_is_named_and_no_other(
    proxy: FaultProxy,
    configured: Callable[..., Configuration],
    left_behind: Callable[[], Any],
    s3_shared_bucket: str,
    action: str,
) -> None:
    take_away(proxy, action, s3_shared_bucket)

    report = await examine(configured())

    found = verdicts(report)
    assert {name for name, verdict in found.items() if verdict is Verdict.FAILED} == {action}
    assert f"{action} is missing for {USER}" in said(report, action)
    assert f"Allow {action} on arn:aws:s3:::{s3_shared_bucket}" in said(report, action)
    assert {found[name] for name in BEHAVIOUR} == {Verdict.UNKNOWN}
    assert report.exit_code == 1
    assert len(report.left) == len(await left_behind()) == (1 if action == "s3:DeleteObject" else 0)


def test_every_action_of_the_policy_has_been_taken_away(configured: Callable[..., Configuration]) -> None:
    printed = policy(configured().settings)
    assert printed is not None
    allowed = {name for statement in printed["Statement"] for name in statement["Action"]}
    assert sorted(allowed) == sorted(NAMES) == sorted(TAKEN_AWAY)


async def test_under_the_policy_s4_and_its_index_work_and_need_all_of_it(
    proxy: FaultProxy,
    configured: Callable[..., Configuration],
    s3_server: S3Server,
    s3_shared_bucket: str,
    tmp_path: Path,
) -> None:
    settings = configured(s3_server.policed()).settings
    assert settings.store_secret_access_key is not None
    access = {
        "store_url": settings.store_url,
        "store_endpoint": settings.store_endpoint,
        "store_access_key_id": settings.store_access_key_id,
        "store_secret_access_key": settings.store_secret_access_key.get_secret_value(),
        "index_grace_seconds": 0.0,
        "garbage_grace_seconds": 0.0,
    }
    async with open_house(tmp_path, **access) as house:
        acme = await house.tenant()
        document = await house.put(acme, "tides", "Tides follow the moon.")
        await house.work()
        assert await house.found(acme, "tides") == [document.document_id]
        await house.core.documents.delete(acme.context, document.document_id)
        async with house.core.store.upload(keys.probe("broken-off")) as upload:
            await upload.write(bytes(settings.store_part_bytes * 2))
        await house.work()
        assert [info async for info in house.core.store.list(keys.TENANTS)]

    asked = {action_of(request, s3_shared_bucket) for request in proxy.requests}
    assert asked == set(NAMES)


# SeaweedFS asks for s3:PutObject where S3 asks for s3:AbortMultipartUpload.
@pytest.mark.parametrize("action", [name for name in NAMES if name != "s3:AbortMultipartUpload"])
async def test_a_policy_without_an_action_is_found_out_on_a_store_that_enforces_it(
    configured: Callable[..., Configuration], s3_server: S3Server, action: str
) -> None:
    report = await examine(configured(s3_server.policed(without=action)))

    assert {name for name, verdict in verdicts(report).items() if verdict is Verdict.FAILED} == {action}
    assert report.exit_code == 1


async def test_a_missing_object_that_looks_forbidden_is_told_from_a_missing_permission(
    proxy: FaultProxy, configured: Callable[..., Configuration], s3_shared_bucket: str
) -> None:
    """As S3 answers where listings are allowed below a prefix only: 404 is not said."""

    def forbidden(answer: Answer) -> Answer:
        return Answer(403, {}, b"") if answer.status == 404 else answer

    proxy.add(Fault(Mode.REWRITE, method="HEAD", path=f"/{s3_shared_bucket}/", rewrite=forbidden))

    report = await examine(configured())

    assert verdicts(report)["s3:ListBucket"] is Verdict.FAILED
    assert "S4MissingObjects" in said(report, "s3:ListBucket")


def turned(answer: Answer) -> Answer:
    """Other bytes, as many."""
    return Answer(200, PLAUSIBLE, answer.body[::-1])


def claims_success(proxy: FaultProxy, **which: Any) -> Fault:
    """A store that ignores the condition, as far as an answer shows it. To take the header away would break the
    signature."""

    def claimed(answer: Answer) -> Answer:
        return Answer(200, {"ETag": '"1"'}, b"") if answer.status in (200, 412) else answer

    return proxy.add(Fault(Mode.REWRITE, method="PUT", unless="uploadId", rewrite=claimed, **which))


async def test_a_store_that_ignores_conditions_is_refused_in_the_words_of_the_start(
    proxy: FaultProxy, configured: Callable[..., Configuration], left_behind: Callable[[], Any]
) -> None:
    claims_success(proxy)
    configuration = configured()

    report = await examine(configuration)

    assert verdicts(report)["conditional_writes"] is Verdict.FAILED
    assert NO_CONDITIONS in said(report, "conditional_writes")
    assert report.exit_code == 1
    findings = {each.dependency: each for each in await look(configuration.settings, within=timedelta(seconds=30))}
    assert findings["object_store"].message == NO_CONDITIONS
    settings = complete(configuration.settings)
    migrate_database(settings)
    with pytest.raises(Conflict) as refused:
        async with open_core(settings):
            raise AssertionError("it started")
    assert refused.value.message == NO_CONDITIONS
    assert await left_behind() == []


async def test_a_store_that_lets_two_racing_creators_win_is_found_out(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    claims_success(proxy, path="/race-")

    assert (await tried(behaviour.conditional_writes, configured())).verdict is Verdict.OK
    raced = await tried(behaviour.conditional_race, configured())
    assert raced.verdict is Verdict.FAILED
    assert "8 were told that they won" in raced.message


async def test_answers_that_are_lost_are_settled_and_no_reason_to_refuse_a_store(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    fault = proxy.add(Fault(Mode.LOST_REPLY, method="PUT", path="/race-", every=4))

    assert (await tried(behaviour.conditional_race, configured())).verdict is Verdict.OK
    assert fault.hits > 3


async def test_a_store_that_does_not_show_a_creator_its_own_bytes_is_found_out(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    proxy.add(Fault(Mode.REWRITE, method="GET", path="/created", rewrite=turned))

    untrue = await tried(behaviour.conditional_writes, configured())

    assert untrue.verdict is Verdict.FAILED
    assert "does not find its own bytes" in untrue.message


async def test_listings_that_lag_behind_are_found_out(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    empty = b"<?xml version='1.0'?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
    proxy.add(Fault(Mode.ANSWER, method="GET", path="list-type=2", count=1, answer=lambda: Answer(200, {}, empty)))

    lagging = await tried(behaviour.list_after_write, configured())

    assert lagging.verdict is Verdict.FAILED
    assert "is not listed at once" in lagging.message


async def test_ranges_that_are_ignored_are_found_out(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    def whole(answer: Answer) -> Answer:
        return Answer(200, PLAUSIBLE, answer.body)

    proxy.add(Fault(Mode.REWRITE, method="GET", path="/ranged", rewrite=whole))

    assert (await tried(behaviour.ranged_reads, configured())).verdict is Verdict.FAILED


async def test_ranges_of_other_bytes_are_found_out(proxy: FaultProxy, configured: Callable[..., Configuration]) -> None:
    def spoilt(answer: Answer) -> Answer:
        headers = {**PLAUSIBLE, "Content-Range": f"bytes 0-0/{64 * KIB}"}
        return Answer(206, headers, bytes([answer.body[0] ^ 1]))

    proxy.add(Fault(Mode.REWRITE, method="GET", path="/ranged", count=1, rewrite=spoilt))

    read = await tried(behaviour.ranged_reads, configured())

    assert read.verdict is Verdict.FAILED
    assert "Bytes 0 to 1 of 65536 are read as other bytes." in read.message


async def test_parts_that_come_back_in_another_order_are_found_out(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    proxy.add(Fault(Mode.REWRITE, method="GET", path="/parts", rewrite=turned))

    assert (await tried(behaviour.multipart, configured())).verdict is Verdict.FAILED


async def test_an_upload_that_survives_its_end_is_a_warning(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    proxy.add(Fault(Mode.REWRITE, method="PUT", path="/aborted?", rewrite=lambda _: Answer(200, {"ETag": '"1"'}, b"")))

    assert (await tried(behaviour.abort, configured())).verdict is Verdict.WARNING


async def test_an_index_that_cannot_be_written_is_told_in_the_engines_words(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    proxy.add(Fault(Mode.UNAVAILABLE, method="PUT", path=".lance/"))

    table = await tried(behaviour.index_table, configured())

    assert table.verdict is Verdict.FAILED
    assert "LanceDB cannot keep a table in the store" in table.message


async def test_a_store_that_is_too_busy_to_tell_leaves_it_untold(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    proxy.add(Fault(Mode.UNAVAILABLE, method="PUT", path="/listed/"))

    assert (await tried(behaviour.list_after_write, configured())).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("off_by", "verdict", "words"),
    [
        (timedelta(minutes=5), Verdict.WARNING, "behind the store"),
        (timedelta(minutes=-5), Verdict.WARNING, "ahead of the store"),
        (timedelta(minutes=20), Verdict.FAILED, "refuses signatures"),
    ],
)
async def test_a_clock_that_is_off_is_told_with_the_reason(
    proxy: FaultProxy, configured: Callable[..., Configuration], off_by: timedelta, verdict: Verdict, words: str
) -> None:
    def at_another_time(answer: Answer) -> Answer:
        date = format_datetime(datetime.now(UTC) + off_by, usegmt=True)
        return Answer(answer.status, {**answer.headers, "Date": date}, answer.body)

    proxy.add(Fault(Mode.REWRITE, method="GET", path="max-keys=1&x-s4", rewrite=at_another_time))

    async with open_bench(configured().settings) as opened:
        first, answer = await bucket.answers(opened)

    assert first.verdict is Verdict.OK
    assert answer is not None
    told = bucket.clock(answer)
    assert told.verdict is verdict
    assert words in told.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"store_access_key_id": "unknown"}, "does not know the access key"),
        ({"store_secret_access_key": "wrong"}, "secret key is not that of the access key"),
        ({"store_url": "s3://s4-there-is-no-such-bucket/s4"}, "There is no bucket of this name"),
        ({"store_endpoint": "http://127.0.0.1:9"}, "S4_STORE_ENDPOINT"),
    ],
)
async def test_what_makes_everything_fail_is_told_once(
    configured: Callable[..., Configuration], changes: dict[str, str], words: str
) -> None:
    report = await examine(configured(**changes))

    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["answers"]
    assert words in said(report, "answers")
    assert not BEHAVIOUR & set(verdicts(report))
    assert report.exit_code == 1


async def test_a_signature_that_has_expired_at_once_is_called_a_wrong_clock(
    proxy: FaultProxy, configured: Callable[..., Configuration]
) -> None:
    expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    proxy.add(Fault(Mode.ANSWER, answer=lambda: Answer(403, {}, expired)))

    report = await examine(configured())

    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["answers"]
    assert "clock is too far" in said(report, "answers")


async def test_a_machine_without_any_credentials_is_told_so(
    configured: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")

    report = await examine(configured(store_access_key_id=None, store_secret_access_key=None))

    assert "There are no credentials" in said(report, "answers")
    assert report.exit_code == 1


LIFECYCLE = """<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>
<ID>logs</ID><Status>{status}</Status><Filter><Prefix>{prefix}</Prefix></Filter>{does}</Rule></LifecycleConfiguration>"""
EXPIRES = "<Expiration><Days>30</Days></Expiration>"
ABORTS = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
ARCHIVES = "<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>"


@pytest.mark.parametrize(
    ("rule", "verdict", "words"),
    [
        ({"does": EXPIRES}, Verdict.FAILED, "The rule logs deletes objects of the whole bucket"),
        ({"does": EXPIRES, "prefix": "{prefix}/tenants/"}, Verdict.FAILED, "would lose documents"),
        ({"does": ARCHIVES}, Verdict.WARNING, "GLACIER"),
        ({"does": EXPIRES, "prefix": "elsewhere/"}, Verdict.WARNING, "unfinished uploads"),
        ({"does": EXPIRES, "status": "Disabled"}, Verdict.WARNING, "unfinished uploads"),
        ({"does": ABORTS}, Verdict.OK, "Unfinished uploads are removed."),
    ],
)
async def test_a_lifecycle_rule_is_read_for_what_it_does_to_documents(
    proxy: FaultProxy,
    configured: Callable[..., Configuration],
    prefix: str,
    rule: dict[str, str],
    verdict: Verdict,
    words: str,
) -> None:
    said_by_rule = {"status": "Enabled", "prefix": "", **rule}
    body = LIFECYCLE.format(**{**said_by_rule, "prefix": said_by_rule["prefix"].format(prefix=prefix)})
    proxy.add(Fault(Mode.ANSWER, "GET", "lifecycle", answer=lambda: Answer(200, {}, body.encode())))
    configuration = configured()
    found = await lifecycle_of(configuration)
    assert (found.verdict, words in f"{found.message} {found.advice}") == (verdict, True), found


async def lifecycle_of(configuration: Configuration) -> Check:
    signed = open_signed(configuration.settings)
    assert signed is not None
    return await bucket.lifecycle(signed, versioned=False)


async def test_interrupted_it_cleans_up(
    proxy: FaultProxy, configured: Callable[..., Configuration], left_behind: Callable[[], Any]
) -> None:
    settings = configured().settings
    fault = proxy.add(Fault(Mode.HANG, method="PUT", path="/listed/", skip=3))
    process = await asyncio.create_subprocess_exec(
        S4, "doctor", "store",
        env=clean_environment() | environment_of(settings),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    await asyncio.wait_for(fault.hit.wait(), timeout=60)
    assert await left_behind() != []
    process.send_signal(signal.SIGTERM)
    _, printed = await asyncio.wait_for(process.communicate(), timeout=60)

    assert (process.returncode, printed) == (130, b"Error: Interrupted.\n")
    assert await left_behind() == []


def environment_of(settings: Any) -> dict[str, str]:
    return {
        "S4_STORE_URL": settings.store_url,
        "S4_STORE_ENDPOINT": settings.store_endpoint,
        "S4_STORE_ACCESS_KEY_ID": settings.store_access_key_id,
        "S4_STORE_SECRET_ACCESS_KEY": settings.store_secret_access_key.get_secret_value(),
        "S4_STORE_RETRIES_MAX": "0",
    }


async def test_what_a_killed_examination_left_the_next_one_removes(
    configured: Callable[..., Configuration], left_behind: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bench(configured().settings) as opened:
        for name in ("doctor-killed/race-0", "of-somebody-else"):
            await opened.store.put(keys.probe(name), b"x")
        assert await opened.clear() == []
        assert await left_behind() == ["system/probes/doctor-killed/race-0", "system/probes/of-somebody-else"]

        monkeypatch.setattr(bench, "_ABANDONED", timedelta(seconds=-5))  # an hour is too long to wait
        assert await opened.clear() == []
    assert await left_behind() == ["system/probes/of-somebody-else"]


async def identified(configuration: Configuration) -> Check:
    signed = open_signed(configuration.settings)
    assert signed is not None
    return await identity(configuration, signed)


async def test_keys_of_the_settings_are_told_as_theirs_whatever_the_environment_has(
    configured: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE1234")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-key")

    alone = await identified(configured())

    assert alone.verdict is Verdict.OK
    assert "1234" not in alone.message
    assert "does not expire by itself" in alone.message


async def test_the_environments_keys_are_told_with_their_end(
    configured: Callable[..., Configuration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE1234")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    own = {"store_access_key_id": None, "store_secret_access_key": None}
    forever = await identified(configured(**own))
    assert forever.verdict is Verdict.OK
    assert forever.message == "The access key …1234, from AWS_ACCESS_KEY_ID. It does not expire by itself."

    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert (await identified(configured(**own))).verdict is Verdict.WARNING
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2099-01-01T00:00:00Z")
    renewable = await identified(configured(**own))
    assert (renewable.verdict, "expires at 2099-01-01" in renewable.message) == (Verdict.WARNING, True)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2001-01-01T00:00:00Z")
    over = await identified(configured(**own))
    assert (over.verdict, "expired at 2001-01-01" in over.message) == (Verdict.FAILED, True)


async def test_the_instances_role_is_named_with_its_end(
    configured: Callable[..., Configuration], s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {
        "AccessKeyId": "ASIAEXAMPLE5678", "SecretAccessKey": "secret", "Token": "token",
        "Expiration": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    roles = "/latest/meta-data/iam/security-credentials/"
    async with fault_proxy(s3_server.endpoint) as metadata:
        for path, body in (("api/token", "token"), (f"{roles}s4-role", json.dumps(credentials)), (roles, "s4-role")):
            metadata.add(Fault(Mode.ANSWER, path=path, answer=lambda body=body: Answer(200, {}, body.encode())))
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.endpoint)

        role = await identified(configured(store_access_key_id=None, store_secret_access_key=None))

    assert role.verdict is Verdict.OK
    assert "The access key …5678, from the instance's role s4-role." in role.message
    assert "expire at 2099-01-01" in role.message


def test_the_command_prints_a_policy_that_iam_would_read(here: Command) -> None:
    done = here("doctor", "store", "--store-url", "s3://my-bucket/s4", "--print-policy")

    assert done.code == 0
    objects, listings, missing = json.loads(done.out)["Statement"]
    assert objects["Resource"] == "arn:aws:s3:::my-bucket/s4/*"
    assert listings["Resource"] == missing["Resource"] == "arn:aws:s3:::my-bucket"
    assert listings["Condition"] == {"StringLike": {"s3:prefix": "s4/*"}}
    assert here("doctor", "store", "--store-url", "file:///x", "--print-policy").code == 2


def test_the_command_speaks_to_programs(
    here: Command, s3_server: S3Server, s3_shared_bucket: str, prefix: str, tmp_path: Path
) -> None:
    settings = s3_settings(
        s3_server.policed(without="s3:ListBucket"), s3_shared_bucket, store_url=f"s3://{s3_shared_bucket}/{prefix}"
    )

    done = here("doctor", "store", "--json", S4_DATA_DIR=str(tmp_path), **environment_of(settings))

    assert done.code == 1, done.err
    document = json.loads(done.out)
    assert document["exit_code"] == 1
    failed = [check for check in document["checks"] if check["verdict"] == "failed"]
    assert [check["name"] for check in failed] == ["s3:ListBucket"]
    assert set(failed[0]) == {"name", "verdict", "needed", "cause", "message", "advice"}
