"""Owners of documents who know what must be: the load of crashes and storms, and what it is held against.

Each works on documents of its own and knows, for each, which states are possible: one after an answer, the one before
or the one after when no answer came. It repeats what was not answered, as clients do, and then everything is definite.
"""

import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.factories import calls


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

    def shown_as(self, document: Mapping[str, Any]) -> bool:
        """Whether this is what an answer says of the document."""
        return (self.sha256, self.size, self.metadata) == (
            document["sha256"],
            document["size"],
            json.dumps(document["metadata"], sort_keys=True),
        )

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
class Owner:
    """One user: what it did, and what must therefore be so. `mark` stands in whatever it uploads."""

    number: int
    dice: random.Random
    mark: str = "unmarked"
    text_words: tuple[int, ...] = (10, 300, 5000)
    """How long its texts may be."""
    by_key: dict[str, Possible] = field(default_factory=dict)
    by_id: dict[str, Possible] = field(default_factory=dict)
    unanswered: list[Unanswered] = field(default_factory=list)
    past_words: set[str] = field(default_factory=set)
    acknowledged: int = 0

    def work(self, tenant: httpx.Client, stop: threading.Event) -> None:
        """Until told to stop or until the connection dies."""
        with tenant, contextlib.suppress(httpx.TransportError):
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

    def repeat(self, tenant: httpx.Client, upload: Unanswered) -> str:
        """Answers with the document's id."""
        answer = calls.post(
            tenant, upload.filename, upload.content, upload.metadata, idempotency_key=upload.idempotency_key
        )
        document_id: str = calls.stored(answer)["document_id"]
        self.by_id[document_id] = {upload.state}
        self.unanswered.remove(upload)
        self.acknowledged += 1
        return document_id

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
        filler = " ".join(f"word{self.dice.randrange(200)}" for _ in range(self.dice.choice(self.text_words)))
        content = f"This text speaks of {word}, {self.mark}. {filler}".encode()
        metadata = {"by": f"{self.mark}/{self.number}", "category": self.dice.choice(["red", "green"])}
        return content, State.of(content, word, metadata), metadata


def check_documents(tenant: httpx.Client, owners: Sequence[Owner]) -> None:
    """Everything is as one of its owners' possibilities, by get, download and listing; nothing else is there."""
    listed = calls.everything(tenant)
    known = set()
    for owner in owners:
        places = [(f"/documents/by-key/{key}", possible) for key, possible in owner.by_key.items()]
        places += [(f"/documents/{document_id}", possible) for document_id, possible in owner.by_id.items()]
        for place, possible in places:
            document_id = check_document(tenant, place, possible, listed)
            if document_id is not None:
                known.add(document_id)
    open_names = {upload.filename for owner in owners for upload in owner.unanswered}
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
    assert any(state.shown_as(document) for state in possible if state is not None), (
        f"{place} is {document}, possible were {possible}"
    )
    content = tenant.get(f"/documents/{document['document_id']}/download").content
    assert hashlib.sha256(content).hexdigest() == document["sha256"]
    entry = listed[document["document_id"]]
    assert {name: document[name] for name in entry if name != "status"} == {
        name: value for name, value in entry.items() if name != "status"
    }
    return str(document["document_id"])


def check_searches(tenant: httpx.Client, owners: Sequence[Owner]) -> None:
    for owner in owners:
        for place, possible in [
            *((f"/documents/by-key/{key}", possible) for key, possible in owner.by_key.items()),
            *((f"/documents/{document_id}", possible) for document_id, possible in owner.by_id.items()),
        ]:
            (state,) = possible
            if state is None:
                assert tenant.get(place).status_code == 404
                continue
            document_id = tenant.get(place).json()["document_id"]
            assert calls.found(tenant, state.word) == [document_id]
        for word in owner.past_words:
            assert calls.found(tenant, word) == [], "deleted or replaced text is still found"


def check_end_states(
    tenant: httpx.Client,
    *,
    unlucky_codes: Set[str] = frozenset({"resource_limit"}),
    seconds_max: float = calls.WAIT_SECONDS_MAX,
) -> int:
    """All end; all of these have text, so only who was at work during several kills may have failed, and recovers."""
    ended = calls.wait_all(tenant, calls.everything(tenant), seconds_max=seconds_max)
    unlucky = [name for name, document in ended.items() if document["status"] == "failed"]
    for document_id in unlucky:
        assert ended[document_id]["error"]["code"] in unlucky_codes, ended[document_id]
        assert tenant.post(f"/documents/{document_id}/reprocess").status_code == 202
        assert calls.wait(tenant, document_id, seconds_max=seconds_max)["status"] == "ready"
    return len(unlucky)


def check_usage(admin: httpx.Client, tenant: httpx.Client, tenant_id: str) -> None:
    listed = calls.everything(tenant)
    counted = admin.get(f"/admin/tenants/{tenant_id}").json()
    assert counted["document_count"] == len(listed)
    assert counted["storage_used"] == sum(document["size"] for document in listed.values())
