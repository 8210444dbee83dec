"""The rules of `s4 lifecycle`: which they are, and that a real store takes them as they are meant."""

import secrets
from datetime import timedelta
from pathlib import Path

import pytest

from s4.domains.plans.model import Plan
from s4.domains.tenants import PlanChange
from s4.entrypoints.cli.app import run
from s4.entrypoints.doctor.report import Verdict
from s4.entrypoints.lifecycle import Tenure, apply, check, google_document, lifecycle_rules, s3_document
from s4.entrypoints.lifecycle.bucket import tenures
from s4.entrypoints.lifecycle.rules import reaches
from s4.kernel.ids import TenantId, new_tenant_id
from s4.kernel.settings import Settings
from s4.platform.objects import SignedRequests, open_signed
from tests.factories.house import open_house
from tests.factories.process import OWNER
from tests.servers import S3Server

DAY = timedelta(days=1)
FOREIGN = (
    b'<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>logs</ID><Filter><Prefix>logs/'
    b"</Prefix></Filter><Status>Enabled</Status><Expiration><Days>7</Days></Expiration></Rule></LifecycleConfiguration>"
)


def tenant(first: str) -> TenantId:
    """One whose id begins so."""
    return TenantId(f"ten_{first}{new_tenant_id(secrets.token_bytes).removeprefix('ten_')[1:]}")


def rules_of(*known: Tenure, days: int = 30, rules_max: int = 1000) -> tuple[set[tuple[str, int | None]], int]:
    """Prefix and days of the rules for tenants, and how many have no room."""
    wanted = lifecycle_rules("s4/", known, old_versions_days=days, upload_max=DAY, rules_max=rules_max)
    tenants = {(rule.prefix, rule.old_versions_days) for rule in wanted.rules if rule.prefix.startswith("s4/tenants")}
    return tenants, wanted.without_room


def test_one_rule_serves_all_and_shorter_plans_have_their_own() -> None:
    short, common, long = tenant("a"), tenant("b"), tenant("c")
    found, without_room = rules_of(Tenure(short, 7), Tenure(common), Tenure(long, 90))
    assert found == {("s4/tenants/", 90), (f"s4/tenants/{short}/", 7), (f"s4/tenants/{common}/", 30)}
    assert without_room == 0


def test_no_rule_reaches_a_tenant_under_a_legal_hold() -> None:
    held, neighbour, other = tenant("a"), tenant("a"), tenant("b")
    known = [Tenure(held, 7, is_held=True), Tenure(neighbour), Tenure(other)]
    wanted = lifecycle_rules("", known, old_versions_days=30, upload_max=DAY)
    reached = {each.tenant_id: [rule for rule in wanted.rules if reaches(rule, "", each)] for each in known}
    assert reached[held] == []
    assert [rule.old_versions_days for rule in reached[neighbour]] == [30]
    assert [rule.old_versions_days for rule in reached[other]] == [30]


def test_what_has_no_room_keeps_old_versions_longer_and_is_told() -> None:
    known = [Tenure(tenant("a"), days) for days in (5, 6, 7)]
    found, without_room = rules_of(*known, rules_max=5)
    assert found == {("s4/tenants/", 30), (f"s4/tenants/{known[0].tenant_id}/", 5)}, "the shortest come first"
    assert without_room == 2


def test_no_rule_moves_anything_nor_touches_what_is_current() -> None:
    known = [Tenure(tenant("a"), 7, is_held=True), Tenure(tenant("b"), 90)]
    wanted = lifecycle_rules("s4/", known, old_versions_days=30, upload_max=36 * timedelta(hours=1))
    written = s3_document(wanted.rules).decode()
    assert "Transition" not in written
    assert "<Expiration>" not in written
    assert "<DaysAfterInitiation>3</DaysAfterInitiation>" in written, "two days of uploading, from midnight"
    actions = {rule["action"]["type"] for rule in google_document(wanted.rules)["rule"]}
    assert actions == {"AbortIncompleteMultipartUpload", "Delete"}
    deletions = [
        rule["condition"] for rule in google_document(wanted.rules)["rule"] if rule["action"]["type"] == "Delete"
    ]
    assert all("daysSinceNoncurrentTime" in condition for condition in deletions)


@pytest.fixture
def settings(s3_server: S3Server, s3_bucket: str) -> Settings:
    return Settings(
        store_url=f"s3://{s3_bucket}/s4",
        store_endpoint=s3_server.endpoint,
        store_access_key_id=s3_server.access_key,
        store_secret_access_key=s3_server.secret_key,
    )


def opened(settings: Settings) -> SignedRequests:
    signed = open_signed(settings)
    assert signed is not None
    return signed


async def test_a_real_store_takes_the_rules_beside_those_of_others(settings: Settings) -> None:
    signed, known = opened(settings), [Tenure(tenant("a"), 7), Tenure(tenant("b"))]
    assert (await signed.ask("PUT", None, query={"lifecycle": ""}, body=FOREIGN)).ok
    assert (await check(settings, signed, known)).exit_code == 1, "nothing is there yet"

    done = await apply(settings, signed, known)
    assert (done.written, done.kept, done.without_room) == (5, 1, 0)
    report = await check(settings, signed, known)
    assert report.exit_code == 0, report.as_json()
    assert (await apply(settings, signed, known)) == done, "twice comes to the same"

    held = [Tenure(known[0].tenant_id, 7, is_held=True), known[1]]
    verdicts = {each.name: each.verdict for each in (await check(settings, signed, held)).checks}
    assert verdicts["legal_holds"] is Verdict.FAILED
    await apply(settings, signed, held)
    assert (await check(settings, signed, held)).exit_code == 0
    answer = (await signed.ask("GET", None, query={"lifecycle": ""})).body.decode()
    assert "<ID>logs</ID>" in answer
    assert known[0].tenant_id not in answer


async def test_rules_of_others_that_move_or_end_what_is_s4s_are_told(settings: Settings) -> None:
    signed = opened(settings)
    await apply(settings, signed, [])
    harmful = FOREIGN.replace(b"<Prefix>logs/</Prefix>", b"<Prefix>s4/indices/</Prefix>")
    foreign = (await signed.ask("GET", None, query={"lifecycle": ""})).document()
    assert foreign is not None
    ours = s3_document(lifecycle_rules("s4/", [], old_versions_days=30, upload_max=timedelta(hours=1)).rules)
    rule = harmful.partition(b"<Rule>")[2].rpartition(b"</Rule>")[0]
    body = ours.replace(b"</LifecycleConfiguration>", b"<Rule>" + rule + b"</Rule></LifecycleConfiguration>")
    assert (await signed.ask("PUT", None, query={"lifecycle": ""}, body=body)).ok
    report = await check(settings, signed, [])
    verdicts = {each.name: each.verdict for each in report.checks}
    assert verdicts == {"rules": Verdict.OK, "legal_holds": Verdict.OK, "other_rules": Verdict.FAILED}


async def test_what_plans_and_holds_say_becomes_rules(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.core.plans.create(OWNER, Plan("short", "Short", old_versions_days=7))
        short, held, of_a_document = [await house.tenant(name) for name in ("Short", "Held", "Document")]
        await house.core.lifecycle.change_plan(OWNER, short.context.tenant_id, PlanChange("short"))
        await house.core.lifecycle.hold(OWNER, held.context.tenant_id, reason="Case 7")
        document = await house.put(of_a_document, "k", "text")
        await house.core.holds.place(of_a_document.context, document.document_id, reason="Case 8")
        found = {each.tenant_id: (each.old_versions_days, each.is_held) for each in await tenures(house.core.database)}
        assert found == {
            short.context.tenant_id: (7, False),
            held.context.tenant_id: (None, True),
            of_a_document.context.tenant_id: (None, True),
        }


def test_a_directory_has_no_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lifecycle", "apply", "--data-dir", str(tmp_path)]) == 2
    assert "A directory has none." in capsys.readouterr().err
