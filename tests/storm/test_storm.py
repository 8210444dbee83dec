"""A storm: two API processes and two workers, a few tenants at work, and one fault after the other between everything.

    make storm SEED=7 MINUTES=5

draws schedule and load from the seed. The short one, of a fixed seed, is part of `make test-processes`. Each test
here is a thing that must hold after any storm.
"""

import os
from collections.abc import Iterator

import pytest

from tests.factories import calls
from tests.factories.owners import check_documents, check_searches
from tests.servers import S3Server
from tests.storm.checker import check_bucket, check_ledger, check_logs, check_no_drift
from tests.storm.line import Wrong
from tests.storm.town import Household, Town, after_a_storm
from tests.storm.weather import FAULTS, drawn

SEED = int(os.environ.get("STORM_SEED", "5"))
SECONDS = 60 * float(os.environ.get("STORM_MINUTES", "0.12"))
CALMING_SECONDS_MAX = 600  # for the start and all that comes after

pytestmark = [pytest.mark.storm, pytest.mark.timeout(SECONDS + CALMING_SECONDS_MAX)]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, s3_shared_bucket: str) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("storm")
    with after_a_storm(folder, s3_server, s3_shared_bucket, seed=SEED, seconds=SECONDS) as town:
        yield town


def test_every_acknowledged_document_is_there_byte_for_byte(town: Town) -> None:
    def check(household: Household) -> None:
        with town.patient(household) as tenant:
            check_documents(tenant, household.residents)

    town.await_ends()
    town.each(check)
    assert town.acknowledged > len(town.residents), "hardly any load"


def test_meanwhile_nobody_saw_anything_but_what_was_acknowledged(town: Town) -> None:
    assert town.stage.witness.violations[Wrong.SEEN] == []
    spoilt = sum(resident.spoilt_downloads for resident in town.residents)
    assert spoilt <= town.stage.store_spoilt, "downloads of other bytes, and no fault that turned them"


def test_every_document_ends_in_bounded_time(town: Town) -> None:
    town.await_ends()
    for household in town.households:
        with town.patient(household) as tenant:
            assert {document["status"] for document in calls.everything(tenant).values()} <= {"ready"}


def test_the_index_equals_the_catalog(town: Town) -> None:
    def check(household: Household) -> None:
        with town.patient(household) as tenant:
            check_searches(tenant, household.residents)

    town.await_ends()
    town.each(check)


def test_the_ledger_equals_the_recount(town: Town) -> None:
    def check(household: Household) -> None:
        with town.admin() as admin, town.patient(household) as tenant:
            check_ledger(admin, tenant, household.tenant_id)

    town.each(check)
    check_no_drift(town.logs)


def test_what_was_paid_for_and_stored_is_not_paid_for_again(town: Town) -> None:
    """While the provider's answers are lost and workers die, texts are rightly paid for twice; afterwards never."""
    town.await_ends()
    paid = len(town.stage.bill.texts)

    def check(household: Household) -> None:
        with town.patient(household) as tenant:
            for document_id in list(calls.everything(tenant))[:2]:
                assert tenant.post(f"/documents/{document_id}/reprocess").status_code == 202
                assert calls.wait(tenant, document_id)["status"] == "ready"

    town.each(check)
    assert town.stage.bill.texts[paid:] == []


def test_no_tenant_saw_anything_of_anothers(town: Town) -> None:
    def check(household: Household) -> None:
        with town.patient(household) as tenant:
            for stranger in town.strangers_of(household):
                for _, state in stranger.definite():
                    assert calls.found(tenant, state.word) == []

    town.each(check)
    assert town.stage.witness.violations[Wrong.FOREIGN] == []


def test_no_orphan_in_the_bucket_survives_the_collection_of_garbage(town: Town) -> None:
    town.await_ends()  # what is still to be done may leave something, too
    check_bucket(town.stage, town.listed())


def test_every_line_of_the_logs_is_json_and_none_holds_a_secret_or_a_text(town: Town) -> None:
    town.await_ends()  # so that whatever can be said of a document has been said
    assert check_logs(town.logs, town.secrets, texts=["This text speaks of"]) > len(town.logs)


def test_nothing_was_answered_from_500_on_but_503_with_retry_after(town: Town) -> None:
    assert town.stage.witness.violations[Wrong.ANSWER] == []


def test_no_process_ended_that_nobody_ended(town: Town) -> None:
    assert town.stage.witness.violations[Wrong.ENDED] == []


def test_a_seed_draws_the_same_storm_again_and_another_seed_another() -> None:
    assert drawn(1, 60) == drawn(1, 60) != drawn(2, 60)


def test_a_storm_that_lasts_has_every_fault() -> None:
    assert {event.fault for event in drawn(1, 300)} == set(FAULTS)
