"""`s4 doctor store` on a bucket of Google's that is well, and on one with each thing wrong with it that it knows."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from s4.entrypoints.configuration import Configuration, read_configuration
from s4.entrypoints.doctor import Verdict
from s4.entrypoints.doctor.store import examine, policy
from s4.entrypoints.doctor.store.google import PERMISSIONS, identity
from s4.kernel import keys
from s4.platform.objects import open_store
from tests.acceptance.conftest import Command
from tests.factories.examined import said, verdicts
from tests.factories.house import open_house
from tests.fault_proxy import Answer, Fault, Mode, Request, fault_proxy
from tests.servers import GoogleServer, free_ports, google_key_file

BEHAVIOUR = {
    "conditional_writes", "conditional_race", "list_after_write", "multipart", "ranged_reads", "index_table",
}  # fmt: skip
NAMES = [permission.name for permission in PERMISSIONS]


@pytest.fixture
def configured(google_server: GoogleServer, tmp_path: Path) -> Callable[..., Configuration]:
    """What `s4 doctor store` would read: a bucket of the test's own."""
    flags = {
        "data_dir": tmp_path,
        "store_url": f"gs://{google_server.new_bucket()}/s4",
        "store_endpoint": google_server.endpoint,
        "store_google_key_file": google_server.key_file(),
        "store_retries_max": 0,
    }

    def read(**changes: Any) -> Configuration:
        return read_configuration(**{**flags, **changes})

    return read


async def left_in(configuration: Configuration) -> list[str]:
    store = open_store(configuration.settings)
    try:
        return [info.key async for info in store.list(keys.EVERYTHING)]
    finally:
        await store.aclose()


async def test_a_bucket_that_is_well_is_found_well_left_as_it_was_and_what_is_not_looked_at_is_said(
    configured: Callable[..., Configuration],
) -> None:
    report = await examine(configured())

    found = verdicts(report)
    assert {found[name] for name in {"answers", "clock", "identity", *BEHAVIOUR, *NAMES}} == {Verdict.OK}
    assert found["bucket_settings"] is Verdict.UNKNOWN
    assert "not looked at" in said(report, "bucket_settings")
    assert "gcloud storage buckets describe gs://" in said(report, "bucket_settings")
    assert (report.exit_code, report.left) == (0, ())
    assert await left_in(configured()) == []


@pytest.mark.parametrize("permission", NAMES)
async def test_each_permission_that_is_missing_is_named_and_no_other(
    configured: Callable[..., Configuration], google_server: GoogleServer, permission: str
) -> None:
    report = await examine(configured(store_google_key_file=google_server.key_file(without=permission)))

    found = verdicts(report)
    assert {name for name, verdict in found.items() if verdict is Verdict.FAILED} == {permission}
    account = f"without-{permission}@s4-tests.iam.gserviceaccount.com"
    assert f"{permission} is missing for {account}. S4 needs it" in said(report, permission)
    assert f"Grant a role with {permission} on gs://" in said(report, permission)
    assert {found[name] for name in BEHAVIOUR} == {Verdict.UNKNOWN}
    assert report.exit_code == 1
    assert len(report.left) == len(await left_in(configured())) == (2 if permission == "storage.objects.delete" else 0)


def permission_of(request: Request, bucket: str) -> str:
    """What Google asks for. Raises `ValueError` for a request that S4 is not known to make."""
    path, _, query = request.path.partition("?")
    match request.method:
        case "GET" if path == f"/{bucket}" and "list-type=2" in query:
            return "storage.objects.list"
        case "GET" | "HEAD" if path.startswith(f"/{bucket}/"):
            return "storage.objects.get"
        case "PUT" | "POST" if "upload" in query:
            return "storage.multipartUploads.create"
        case "PUT":
            return "storage.objects.create"
        case "DELETE":
            return "storage.multipartUploads.abort" if "uploadId" in query else "storage.objects.delete"
    raise ValueError(f"{request.method} {request.path} needs a permission that the role does not name")


async def test_under_the_role_s4_and_its_index_work_and_need_all_of_it(
    configured: Callable[..., Configuration], google_server: GoogleServer, tmp_path: Path
) -> None:
    settings = configured().settings
    role = policy(settings)
    assert role is not None
    async with fault_proxy(google_server.endpoint) as proxy:
        access = {
            "store_url": settings.store_url,
            "store_endpoint": proxy.endpoint,
            "store_google_key_file": settings.store_google_key_file,
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
        bucket = (settings.store_url or "").split("/")[2]
        asked = {permission_of(request, bucket) for request in proxy.requests}

    assert sorted(asked) == sorted(role["includedPermissions"]) == sorted(NAMES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"store_url": "gs://s4-there-is-no-such-bucket/s4"}, "There is no bucket of this name"),
        ({"store_endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"}, "S4_STORE_ENDPOINT"),
        ({"store_google_key_file": None}, "There are no credentials"),
    ],
)
async def test_what_makes_everything_fail_is_told_once(
    configured: Callable[..., Configuration],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    words: str,
) -> None:
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, "127.0.0.1:9")

    report = await examine(configured(**changes))

    assert [check.name for check in report.checks if check.verdict is Verdict.FAILED] == ["answers"]
    assert words in said(report, "answers")
    assert not BEHAVIOUR & set(verdicts(report))
    assert report.exit_code == 1


async def test_a_key_that_google_does_not_know_and_one_that_is_none_are_told_apart(
    configured: Callable[..., Configuration], tmp_path: Path
) -> None:
    key = google_key_file(tmp_path / "key.json", "s4", generate_private_key(public_exponent=65537, key_size=2048))
    unknown = await examine(configured(store_google_key_file=key))
    key.write_text("none")
    unreadable = await examine(configured(store_google_key_file=key))

    assert "does not know the identity" in said(unknown, "answers")
    assert "Unable to decode service account file" in said(unreadable, "identity")
    assert unknown.exit_code == unreadable.exit_code == 1


async def test_a_clock_that_is_wrong_is_a_warning(
    configured: Callable[..., Configuration], google_server: GoogleServer
) -> None:
    def an_hour_behind(answer: Answer) -> Answer:
        date = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        return Answer(answer.status, {**answer.headers, "Date": date}, answer.body)

    async with fault_proxy(google_server.endpoint) as proxy:
        proxy.add(Fault(Mode.REWRITE, count=1, rewrite=an_hour_behind))  # the first, which is without credentials
        report = await examine(configured(store_endpoint=proxy.endpoint))

    assert verdicts(report)["clock"] is Verdict.WARNING
    assert "s ahead of the store" in said(report, "clock")
    assert report.exit_code == 0


async def test_who_s4_is_is_told_in_the_order_in_which_it_counts(
    configured: Callable[..., Configuration],
    google_server: GoogleServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", google_server.metadata_host)
    own = {"store_google_key_file": None}
    machine = await identity(configured(**own))
    assert (machine.verdict, "machine@s4-tests" in machine.message) == (Verdict.OK, True)

    left = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert (await identity(configured(**own))).verdict is Verdict.WARNING

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(google_server.key_file()))
    assert "from GOOGLE_APPLICATION_CREDENTIALS" in (await identity(configured(**own))).message
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(google_server.key_file(without=NAMES[0])))
    assert f"without-{NAMES[0]}@s4-tests" in (await identity(configured(**own))).message
    assert "The account s4@s4-tests" in (await identity(configured())).message

    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "of-somebody")
    token = await identity(configured())
    assert (token.verdict, "of-somebody" in token.message) == (Verdict.FAILED, False)


def test_the_command_prints_a_role_that_gcloud_would_read(here: Command) -> None:
    done = here("doctor", "store", "--store-url", "gs://my-bucket/s4", "--print-policy")

    assert done.code == 0
    role = json.loads(done.out)
    assert set(role) == {"title", "description", "stage", "includedPermissions"}
    assert role["includedPermissions"] == NAMES


def test_the_command_speaks_to_programs(
    here: Command, configured: Callable[..., Configuration], google_server: GoogleServer, tmp_path: Path
) -> None:
    settings = configured().settings

    done = here(
        "doctor", "store", "--json",
        S4_DATA_DIR=str(tmp_path),
        S4_STORE_URL=settings.store_url,
        S4_STORE_ENDPOINT=settings.store_endpoint,
        S4_STORE_GOOGLE_KEY_FILE=str(google_server.key_file(without="storage.objects.list")),
    )  # fmt: skip

    assert done.code == 1, done.err
    failed = [check["name"] for check in json.loads(done.out)["checks"] if check["verdict"] == "failed"]
    assert failed == ["storage.objects.list"]
