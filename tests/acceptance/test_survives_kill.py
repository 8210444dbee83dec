"""kill -9 of everything at once, at random moments, under load: what was acknowledged stays, exactly as it was.

Each client works on documents of its own and knows, for each, which states are possible: one after an answer, the one
before or the one after when no answer came. After every kill S4 starts again on the same data and is held against
that knowledge. A client repeats what was not answered, as clients do, and then everything must be definite.
"""

import contextlib
import hashlib
import json
import random
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from s4.platform.database import migrate
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.servers import PostgresServer, S3Server

CLIENTS = 4
LOAD_SECONDS = (0.4, 2.0)
HURRIED = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    # Short, so that what the dead left behind is taken over within the test. The commit lease must exceed the store's.
    "S4_JOB_LEASE_SECONDS": "2",
    "S4_JOB_BACKOFF_SECONDS": "0.2",
    "S4_STORE_TIMEOUT_SECONDS": "3",
    "S4_COMMIT_LEASE_SECONDS": "4",
    "S4_SWEEP_SECONDS": "1",
}


@dataclass(frozen=True)
class State:
    """A live document as its owner knows it. `word` occurs in this content and nowhere else."""

    sha256: str
    size: int
    word: str
    metadata: str

    @classmethod
    def of(cls, content: bytes, word: str, metadata: dict[str, Any]) -> "State":
        return cls(hashlib.sha256(content).hexdigest(), len(content), word, json.dumps(metadata, sort_keys=True))

    def patched(self, patch: dict[str, Any]) -> "State":
        return State(self.sha256, self.size, self.word, json.dumps(json.loads(self.metadata) | patch, sort_keys=True))


Possible = set[State | None]
"""None: there is no such document."""


@dataclass
class Unanswered:
    """An upload whose answer never came. Repeated with the same Idempotency-Key it takes effect once."""

    filename: str
    content: bytes
    metadata: dict[str, Any]
    idempotency_key: str
    state: State


@dataclass
class Client:
    """One user: what it did, and what must therefore be so."""

    number: int
    dice: random.Random
    by_key: dict[str, Possible] = field(default_factory=dict)
    by_id: dict[str, Possible] = field(default_factory=dict)
    unanswered: list[Unanswered] = field(default_factory=list)
    past_words: set[str] = field(default_factory=set)
    acknowledged: int = 0

    def work(self, deployment: Deployment, api_key: str, stop: threading.Event) -> None:
        """Until told to stop or until the connection dies."""
        with deployment.tenant(api_key) as tenant, contextlib.suppress(httpx.TransportError):
            while not stop.is_set():
                self.act(tenant)

    def act(self, tenant: httpx.Client) -> None:
        action = self.dice.choices(["post", "put", "patch", "delete"], weights=[4, 4, 2, 1])[0]
        if action == "post":
            self.post(tenant)
        elif action == "put":
            self.put(tenant, f"client-{self.number}/{self.dice.randrange(6)}")
        elif definite := [name for name, possible in self.by_id.items() if len(possible) == 1 and None not in possible]:
            name = self.dice.choice(definite)
            self.patch(tenant, name) if action == "patch" else self.delete(tenant, name)

    def post(self, tenant: httpx.Client) -> None:
        content, state, metadata = self._fresh()
        upload = Unanswered(f"{state.word}.txt", content, metadata, state.word, state)
        self.unanswered.append(upload)
        self.repeat(tenant, upload)

    def repeat(self, tenant: httpx.Client, upload: Unanswered) -> None:
        answer = calls.post(
            tenant, upload.filename, upload.content, upload.metadata, idempotency_key=upload.idempotency_key
        )
        document = calls.stored(answer)
        self.by_id[document["document_id"]] = {upload.state}
        self.unanswered.remove(upload)
        self.acknowledged += 1

    def put(self, tenant: httpx.Client, key: str) -> None:
        content, state, metadata = self._fresh()
        before = self.by_key.get(key, {None})
        self.by_key[key] = before | {state}
        calls.stored(calls.put(tenant, key, content, metadata))
        self.past_words |= {old.word for old in before if old is not None}
        self.by_key[key] = {state}
        self.acknowledged += 1

    def patch(self, tenant: httpx.Client, document_id: str) -> None:
        patch = {"patched": self.dice.randrange(1_000_000)}
        (before,) = self.by_id[document_id]
        assert before is not None
        after = before.patched(patch)
        self.by_id[document_id] = {before, after}
        answer = tenant.patch(f"/documents/{document_id}/metadata", json=patch)
        assert answer.status_code == 200, answer.text
        self.by_id[document_id] = {after}
        self.acknowledged += 1

    def delete(self, tenant: httpx.Client, document_id: str) -> None:
        (before,) = self.by_id[document_id]
        assert before is not None
        self.by_id[document_id] = {before, None}
        answer = tenant.delete(f"/documents/{document_id}")
        assert answer.status_code in (204, 404), answer.text
        self.past_words.add(before.word)
        self.by_id[document_id] = {None}
        self.acknowledged += 1

    def settle(self, tenant: httpx.Client) -> None:
        """Repeats what was not answered, until everything is definite."""
        for upload in list(self.unanswered):
            self.repeat(tenant, upload)
        for key in [key for key, possible in self.by_key.items() if len(possible) > 1]:
            self.put(tenant, key)
        for document_id, possible in list(self.by_id.items()):
            if None in possible and len(possible) > 1:
                self._delete_again(tenant, document_id, possible)
            elif len(possible) > 1:
                self._patch_again(tenant, document_id, possible)

    def _delete_again(self, tenant: httpx.Client, document_id: str, possible: Possible) -> None:
        answer = tenant.delete(f"/documents/{document_id}")
        assert answer.status_code in (204, 404), answer.text
        self.past_words |= {old.word for old in possible if old is not None}
        self.by_id[document_id] = {None}

    def _patch_again(self, tenant: httpx.Client, document_id: str, possible: Possible) -> None:
        state = next(iter(possible))
        assert state is not None
        answer = tenant.patch(f"/documents/{document_id}/metadata", json={"patched": -1})
        assert answer.status_code == 200, answer.text
        self.by_id[document_id] = {state.patched({"patched": -1})}

    def _fresh(self) -> tuple[bytes, State, dict[str, Any]]:
        word = f"w{self.dice.getrandbits(64):016x}"
        filler = " ".join(f"word{self.dice.randrange(200)}" for _ in range(self.dice.choice([10, 300, 5000])))
        content = f"This text speaks of {word}. {filler}".encode()
        metadata = {"by": self.number, "category": self.dice.choice(["red", "green"])}
        return content, State.of(content, word, metadata), metadata


def round_of_load(deployment: Deployment, api_key: str, clients: list[Client], dice: random.Random) -> None:
    """Ends with a kill in the middle of it."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        working = [pool.submit(client.work, deployment, api_key, stop) for client in clients]
        stop.wait(dice.uniform(*LOAD_SECONDS))
        deployment.kill()
        stop.set()
    for work in working:
        work.result()


def check_documents(tenant: httpx.Client, clients: list[Client]) -> None:
    """Everything is as one of its owners' possibilities, by get, download and listing; nothing else is there."""
    listed = calls.everything(tenant)
    known = set()
    for client in clients:
        places = [(f"/documents/by-key/{key}", possible) for key, possible in client.by_key.items()]
        places += [(f"/documents/{document_id}", possible) for document_id, possible in client.by_id.items()]
        for place, possible in places:
            document_id = check_document(tenant, place, possible, listed)
            if document_id is not None:
                known.add(document_id)
    open_names = {upload.filename for client in clients for upload in client.unanswered}
    strangers = [listed[name]["filename"] for name in listed.keys() - known]
    assert set(strangers) <= open_names, "documents that nobody uploaded"
    assert len(strangers) == len(set(strangers)), "an unanswered upload took effect twice"


def check_document(
    tenant: httpx.Client, place: str, possible: Possible, listed: dict[str, dict[str, Any]]
) -> str | None:
    answer = tenant.get(place)
    if answer.status_code == 404:
        assert None in possible, f"acknowledged and lost: {place}, {possible}"
        return None
    assert answer.status_code == 200, answer.text
    document = answer.json()
    states = {
        (state.sha256, state.size, state.metadata) for state in possible if state is not None
    }  # without the word, which is for searching
    seen = (document["sha256"], document["size"], json.dumps(document["metadata"], sort_keys=True))
    assert seen in states, f"{place} is {document}, possible were {possible}"
    content = tenant.get(f"/documents/{document['document_id']}/download").content
    assert hashlib.sha256(content).hexdigest() == document["sha256"]
    entry = listed[document["document_id"]]
    assert {name: document[name] for name in entry if name != "status"} == {
        name: value for name, value in entry.items() if name != "status"
    }
    return str(document["document_id"])


def check_searches(tenant: httpx.Client, clients: list[Client]) -> None:
    for client in clients:
        for place, possible in [
            *((f"/documents/by-key/{key}", possible) for key, possible in client.by_key.items()),
            *((f"/documents/{document_id}", possible) for document_id, possible in client.by_id.items()),
        ]:
            (state,) = possible
            if state is None:
                assert tenant.get(place).status_code == 404
                continue
            document_id = tenant.get(place).json()["document_id"]
            assert calls.found(tenant, state.word) == [document_id]
        for word in client.past_words:
            assert calls.found(tenant, word) == [], "deleted or replaced text is still found"


def check_end_states(tenant: httpx.Client) -> int:
    """All end; all of these have text, so only who was at work during several kills may have failed, and recovers."""
    ended = calls.wait_all(tenant, calls.everything(tenant))
    unlucky = [name for name, document in ended.items() if document["status"] == "failed"]
    for document_id in unlucky:
        assert ended[document_id]["error"]["code"] == "resource_limit", ended[document_id]
        assert tenant.post(f"/documents/{document_id}/reprocess").status_code == 202
        assert calls.wait(tenant, document_id)["status"] == "ready"
    return len(unlucky)


def check_usage(deployment: Deployment, tenant: httpx.Client, tenant_id: str) -> None:
    listed = calls.everything(tenant)
    with deployment.admin() as admin:
        counted = admin.get(f"/admin/tenants/{tenant_id}").json()
    assert counted["document_count"] == len(listed)
    assert counted["storage_used"] == sum(document["size"] for document in listed.values())


def survive(deployment: Deployment, kills: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    clients = [Client(number, random.Random(dice.getrandbits(64))) for number in range(CLIENTS)]
    deployment.start()
    with deployment.admin() as admin:
        created = admin.post("/admin/tenants", json={"name": "Acme"}).json()
    for _ in range(kills):
        round_of_load(deployment, created["api_key"], clients, dice)
        deployment.start()
        with deployment.tenant(created["api_key"]) as tenant:
            check_documents(tenant, clients)
    with deployment.tenant(created["api_key"]) as tenant:
        unanswered = sum(len(client.unanswered) for client in clients)
        for client in clients:
            client.settle(tenant)
        unlucky = check_end_states(tenant)
        check_documents(tenant, clients)
        check_searches(tenant, clients)
        check_usage(deployment, tenant, created["id"])
    acknowledged = sum(client.acknowledged for client in clients)
    print(f"{acknowledged} acknowledged, {unanswered} uploads unanswered, {kills} kills, {unlucky} to reprocess")
    assert acknowledged >= 4 * kills, "hardly any load"


@contextlib.contextmanager
def ended(deployment: Deployment) -> Iterator[Deployment]:
    try:
        yield deployment
    finally:
        deployment.kill()


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_on_one_machine(tmp_path: Path) -> None:
    with ended(Deployment(tmp_path, HURRIED)) as deployment:
        survive(deployment, kills=4)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_on_postgresql_and_s3(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, s3_server: S3Server, s3_shared_bucket: str
) -> None:
    environment = HURRIED | {
        "S4_DATABASE_URL": postgres_url,
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": s3_server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    migrate.upgrade(postgres_url)
    with ended(Deployment(tmp_path, environment)) as deployment:
        survive(deployment, kills=3)
