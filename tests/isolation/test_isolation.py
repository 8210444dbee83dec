"""No tenant sees, changes or learns of anything of another, by any route that the running application has.

The suite runs what `s4 verify-isolation` runs, once, and looks at its report. A route that does not stand in
`s4/entrypoints/verification/declared.py` fails here.
"""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from s4.entrypoints.configuration import read_configuration
from s4.entrypoints.verification import CHECKS, Report, Target, Verdict, verify
from s4.entrypoints.verification.declared import DECLARED, PUBLIC
from s4.entrypoints.verification.scene import Scene
from s4.kernel.settings import Settings
from tests.api.calls import put
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

pytestmark = pytest.mark.timeout(600)
"""Whichever test comes first waits for the whole verification; on a busy machine that takes minutes."""

CHECK_NAMES = (
    "routes", "timing", "credentials", "scopes", "ended keys", "suspended", "administrators", "another's ids",
    "conditions", "another's key", "bulk deletion", "idempotency keys", "lists", "searches", "every byte", "bucket",
)  # fmt: skip


@dataclass
class Verified:
    """A deployment, the report on it, and the synthetic tenants that were there."""

    deployment: Deployment
    settings: Settings
    report: Report
    scene: Scene


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verified]:
    data_dir = tmp_path_factory.mktemp("isolation")
    deployment = Deployment(data_dir, FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}).start()
    settings = read_configuration(data_dir=data_dir).settings
    scenes: list[Scene] = []
    checks = (*CHECKS, lambda scene, _: scenes.append(scene))
    report = verify(Target(deployment.url, ADMIN_KEY), checks=checks, store=settings)
    yield Verified(deployment, settings, report, scenes[0])
    deployment.kill()


# -- every route is known and declared


def test_every_route_declares_its_permission_and_stands_in_the_matrix(verified: Verified) -> None:
    check = verified.report.get("routes")
    assert (check.failures, check.gaps) == ([], [])
    assert {name for name, _ in verified.report.routes} == set(DECLARED)


def test_only_routes_of_the_process_and_the_plans_on_offer_are_public(verified: Verified) -> None:
    public = {name for name, permission in verified.report.routes if permission == "public"}
    assert public == PUBLIC


# -- what is asked, and answered as it must be


def test_the_verification_makes_every_check(verified: Verified) -> None:
    assert tuple(check.name for check in verified.report.checks) == CHECK_NAMES
    assert [check.name for check in verified.report.checks if check.absent] == []


@pytest.mark.parametrize("name", CHECK_NAMES)
def test_a_check_finds_nothing_wrong_and_leaves_nothing_out(verified: Verified, name: str) -> None:
    check = verified.report.get(name)
    assert (check.failures, check.gaps) == ([], [])
    assert check.count


def test_every_route_refuses_wrong_credentials_and_does_nothing(verified: Verified) -> None:
    check = verified.report.get("credentials")
    assert check.failures == []
    assert set(check.routes) == {name for name, permission in verified.report.routes if permission != "public"}


def test_what_is_anothers_answers_exactly_as_what_never_was(verified: Verified) -> None:
    """By every route of a tenant's that takes an id."""
    check = verified.report.get("another's ids")
    assert check.failures == []
    with_ids = {
        route.name
        for route in verified.scene.matrix.of_tenants
        if route.parameters and route.call is not None and not route.call.creates
    }
    assert set(check.routes) == with_ids
    assert len(with_ids) >= 20


def test_no_byte_of_a_tenant_reaches_another_by_any_route(verified: Verified) -> None:
    """Every route, asked about what is one's own, another's and nobody's; and all that was answered before."""
    check = verified.report.get("every byte")
    assert check.failures == []
    called = {route.name for route in verified.scene.matrix.known if not route.is_admins}
    assert set(check.routes) == called
    assert check.figures["answers searched for B's words"] > 500


def test_a_guess_at_a_key_takes_as_long_to_refuse_as_a_key_that_never_was(verified: Verified) -> None:
    """A bound that a look-up saved or a comparison cut short would break, and a busy machine does not."""
    assert 0.5 < verified.report.get("timing").figures["ratio of the two"] < 2


def test_logs_hold_neither_keys_nor_names_nor_text(verified: Verified) -> None:
    log = "".join(verified.deployment.log)
    assert "http.request_finished" in log
    scene = verified.scene
    secrets = scene.canaries.as_secrets() | {"A's key": scene.a.api_key, "B's key": scene.b.api_key}
    for name, hidden in itertools.chain(secrets.items(), [("the administrator's", ADMIN_KEY)]):
        assert hidden not in log, name


# -- the report, and what is left


def test_the_report_says_what_was_done_where_by_whom_and_what_came_of_it(verified: Verified) -> None:
    report, page = verified.report, verified.report.as_markdown()
    assert report.verdict is Verdict.PROVED
    for said in (verified.deployment.url, report.version, report.started_at, report.ended_at, verified.scene.b.id):
        assert said in page
    for check in report.checks:
        assert f"| {check.name} | {check.claim} | {check.count} | {check.result} |" in page
    for name, _ in report.routes:
        assert f"| `{name}` |" in page
    assert json.loads(report.as_json_text())["verdict"] == "proved"
    for key in (verified.scene.a.api_key, verified.scene.b.api_key, ADMIN_KEY):
        assert key not in page + report.as_json_text()


def test_the_synthetic_tenants_have_nothing_left_and_the_report_names_what_stays(verified: Verified) -> None:
    for tenant in verified.scene.made.values():
        with verified.deployment.tenant(tenant.api_key) as caller:
            answer = caller.get("/documents")
            assert answer.status_code in (401, 403) or answer.json()["documents"] == []
        listed = httpx.get(
            f"{verified.deployment.api}/admin/tenants/{tenant.id}", headers={"X-Admin-Key": ADMIN_KEY}, timeout=60
        )
        named = any(tenant.id in left for left in verified.report.left)
        assert named == (listed.status_code == 200)


# -- the bucket


def test_objects_that_are_misplaced_are_found_and_named(verified: Verified) -> None:
    """One of each kind: no key of S4's, a tenant that nobody knows, another tenant's content, another's head."""
    tenants = [verified.deployment.new_tenant(name) for name in ("Owner", "Neighbour")]
    made = [put(tenant, "mine", "Mine.").json()["document_id"] for tenant in tenants]
    objects = verified.deployment.data_dir / "objects"
    owner, neighbour = (next(objects.glob(f"tenants/*/documents/{document_id}")) for document_id in made)
    content, head = next(owner.glob("ver_*/content")), next(owner.glob("head/*.json"))
    nobodys = objects / "tenants" / ("ten_" + "a" * 26)
    misplaced = {
        objects / "tenants" / owner.parents[1].name / "notes.txt": (content, "unparsable"),
        nobodys / "documents" / content.relative_to(owner.parent): (content, "ownerless"),
        neighbour.parent / content.relative_to(owner.parent): (content, "foreign"),
        neighbour / "head" / "000000000009.json": (head, "foreign"),
        neighbour / ("ver_" + "a" * 26) / "content": (content, "ownerless"),
    }
    for place, (source, _) in misplaced.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)

    report = verify(Target(verified.deployment.url, ADMIN_KEY), checks=(), store=verified.settings)

    expected = {f"{what}: {place.relative_to(objects)}" for place, (_, what) in misplaced.items()}
    assert set(report.get("bucket").failures) == expected
    assert report.verdict is Verdict.REFUTED


def test_another_deployments_bucket_proves_nothing(verified: Verified, tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    elsewhere = read_configuration(data_dir=tmp_path).settings

    report = verify(Target(verified.deployment.url, ADMIN_KEY), checks=(), store=elsewhere)

    assert report.verdict is Verdict.INCOMPLETE
    assert "not the deployment's" in report.get("bucket").gaps[0]
