"""S4 on a bucket of Google's: documents from upload to deletion over HTTP, whom it trusts, and what it says where it
cannot start."""

from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.acceptance.conftest import Command
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.factories.tls import Authority, tls_door
from tests.servers import GoogleServer, google_key_file

pytestmark = pytest.mark.processes


def environment_of(server: GoogleServer, bucket: str) -> dict[str, str]:
    return {
        "S4_STORE_URL": f"gs://{bucket}/s4",
        "S4_STORE_ENDPOINT": server.endpoint,
        "S4_STORE_GOOGLE_KEY_FILE": str(server.key_file()),
        "S4_STORE_RETRIES_MAX": "0",
    }


def indexed(tenant: httpx.Client, key: str, text: str) -> str:
    """Uploads or replaces, and waits until it is searched."""
    document = calls.wait(tenant, calls.stored(calls.put(tenant, key, text))["document_id"])
    assert document["status"] == "ready", document
    return str(document["document_id"])


def test_a_document_is_uploaded_found_replaced_and_deleted_and_a_restart_finds_the_same(
    google_server: GoogleServer, google_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the machine's own identity, for store and index alike."""
    environment = environment_of(google_server, google_bucket)
    del environment["S4_STORE_GOOGLE_KEY_FILE"]
    monkeypatch.setenv("GCE_METADATA_HOST", google_server.metadata_host)
    deployment = Deployment(tmp_path, FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY} | environment).start()
    try:
        with deployment.admin() as admin:
            key = admin.post("/admin/tenants", json={"name": "Acme"}).json()["api_key"]
        with deployment.tenant(key) as tenant:
            kept = indexed(tenant, "kept", "tides follow the moon")
            gone = indexed(tenant, "gone", "an ancient walrus")
            assert calls.found(tenant, "walrus") == [gone]
            assert indexed(tenant, "kept", "falcons follow the wind") == kept
            assert tenant.delete(f"/documents/{gone}").is_success
        deployment.kill()
        deployment.start()
        with deployment.tenant(key) as tenant:
            assert calls.found(tenant, "falcons") == [kept]
            assert calls.found(tenant, "moon") == calls.found(tenant, "walrus") == []
            assert tenant.get(f"/documents/{kept}/download").text == "falcons follow the wind"
            assert tenant.get(f"/documents/{gone}").status_code == 404
        assert deployment.stop() == 0
    finally:
        deployment.kill()


@pytest.mark.parametrize("wrong", ["bucket", "key", "file"])
def test_where_it_cannot_start_it_says_why_and_what_to_do(
    here: Command, google_server: GoogleServer, google_bucket: str, tmp_path: Path, wrong: str
) -> None:
    environment = environment_of(google_server, google_bucket) | {"S4_EMBEDDING_PROVIDER": "deterministic"}
    if wrong == "bucket":
        environment["S4_STORE_URL"] = "gs://s4-no-such-bucket/s4"
    else:
        file = tmp_path / "key.json"
        if wrong == "key":
            google_key_file(file, "s4", generate_private_key(public_exponent=65537, key_size=2048))
        environment["S4_STORE_GOOGLE_KEY_FILE"] = str(file)

    started = here("serve", "--port", "0", S4_DATA_DIR=str(tmp_path / "data"), **environment)
    examined = here("doctor", "store", S4_DATA_DIR=str(tmp_path / "data"), **environment)

    expected, advice = {
        "bucket": ("(NoSuchBucket). `s4 doctor store` says what to mend.", "Create it, or correct S4_STORE_URL."),
        "key": (
            "denies S4 access (AuthenticationRequired). `s4 doctor store`",
            "was deleted, and whether this machine's",
        ),
        "file": (f"Unable to open service account file from {tmp_path}", "Look at S4_STORE_GOOGLE_KEY_FILE"),
    }[wrong]
    assert (started.code, expected in started.err) == (1, True), started.err
    assert (examined.code, advice in examined.out) == (1, True), examined.out


def test_by_tls_store_and_index_trust_an_authority_of_ones_own_and_nobody_without_it(
    here: Command, google_server: GoogleServer, google_bucket: str, tmp_path: Path
) -> None:
    """As the machine, whose metadata service speaks plain HTTP all the same."""
    authority = Authority(tmp_path)
    with tls_door(authority, google_server.endpoint) as door:
        environment = environment_of(google_server, google_bucket) | {
            "S4_DATA_DIR": str(tmp_path / "data"),
            "S4_STORE_ENDPOINT": f"https://{door}",
            "GCE_METADATA_HOST": google_server.metadata_host,
        }
        del environment["S4_STORE_GOOGLE_KEY_FILE"]
        trusting = here("doctor", "store", **environment, S4_CA_FILE=str(authority.file))
        alone = here("doctor", "store", **environment)

    assert (trusting.code, "index_table " in trusting.out) == (0, True), trusting.out
    assert (alone.code, "The store does not answer (ConnectError)." in alone.out) == (1, True), alone.out
