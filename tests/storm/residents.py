"""A storm's load: owners of documents who also read, look each other's things up, and wait for nobody."""

import hashlib
import threading
from dataclasses import dataclass, field

import httpx

from tests.factories import calls
from tests.factories.owners import Owner, State, Unanswered

_PAUSE_SECONDS_MAX = 0.15  # between two acts: the storm is about faults, not about load
_ACTS_MIN = 20  # of each resident, also on a machine that is so busy that a short storm passes meanwhile
_ACTS = {
    "again": 2,
    "post": 3,
    "put": 4,
    "patch": 2,
    "delete": 1,
    "find": 4,
    "get": 2,
    "fetch": 2,
    "list": 1,
    "pry": 1,
    "miss": 1,
}


@dataclass
class Resident(Owner):
    """`strangers` are owners at other tenants; `buried` the words of deleted documents."""

    strangers: "list[Resident]" = field(default_factory=list)
    buried: list[str] = field(default_factory=list)
    latest: tuple[Unanswered, str] | None = None
    """The last upload with an Idempotency-Key that was answered, and the document that it made."""
    spoilt_downloads: int = 0
    degraded: int = 0

    def live(self, tenant: httpx.Client, stop: threading.Event) -> None:
        """Until told to stop. What was not answered is left for later, or repeated at once."""
        acts = 0
        while not stop.wait(self.dice.uniform(0, _PAUSE_SECONDS_MAX)) or acts < _ACTS_MIN:
            acts += 1
            try:
                self.act(tenant)
            except httpx.TransportError:
                self._once_more(tenant)

    def _once_more(self, tenant: httpx.Client) -> None:
        if self.unanswered and self.dice.random() < 0.5:
            try:
                self.repeat(tenant, self.dice.choice(self.unanswered))
            except httpx.TransportError:
                return

    def act(self, tenant: httpx.Client) -> None:
        act = self.dice.choices(list(_ACTS), weights=list(_ACTS.values()))[0]
        if act == "post":
            self.post(tenant)
        elif act == "put":
            self.put(tenant, f"{self.mark}/{self.number}/{self.dice.randrange(3)}")
        elif act == "list":
            self._list(tenant)
        elif act == "again":
            self._again(tenant)
        elif act == "pry":
            self._pry(tenant)
        elif act == "miss":
            self._miss(tenant)
        elif definite := self.definite(only_ids=act in ("patch", "delete")):
            place, state = self.dice.choice(definite)
            self._with_document(act, tenant, place, state)

    def repeat(self, tenant: httpx.Client, upload: Unanswered) -> str:
        document_id = super().repeat(tenant, upload)
        self.latest = (upload, document_id)
        return document_id

    def _again(self, tenant: httpx.Client) -> None:
        """What was answered is answered again, and done once."""
        if self.latest is not None:
            upload, document_id = self.latest
            answer = calls.post(
                tenant, upload.filename, upload.content, upload.metadata, idempotency_key=upload.idempotency_key
            )
            assert calls.stored(answer)["document_id"] == document_id
            assert answer.headers.get("Idempotency-Replayed") == "true", "done a second time"

    def _with_document(self, act: str, tenant: httpx.Client, place: str, state: State) -> None:
        name = place.removeprefix("/documents/")
        if act == "patch":
            self.patch(tenant, name)
        elif act == "delete":
            self.delete(tenant, name)
            self.buried.append(state.word)
        elif act == "find":
            self._find(tenant, place, state)
        elif act == "fetch":
            self._fetch(tenant, place, state)
        else:
            self._get(tenant, place, state)

    def definite(self, *, only_ids: bool = False) -> list[tuple[str, State]]:
        """Documents of which it is known that they are there, and how."""
        places = [(f"/documents/{name}", possible) for name, possible in list(self.by_id.items())]
        if not only_ids:
            places += [(f"/documents/by-key/{key}", possible) for key, possible in list(self.by_key.items())]
        return [
            (place, state)
            for place, possible in places
            if len(possible) == 1 and (state := next(iter(possible))) is not None
        ]

    def _list(self, tenant: httpx.Client) -> None:
        answer = tenant.get("/documents", params={"limit": 20})
        assert answer.status_code == 200, answer.text
        for document in answer.json()["documents"]:
            possible = self.by_id.get(document["document_id"])
            if possible is not None:
                states = [state for state in possible if state is not None]
                assert any(state.shown_as(document) for state in states), f"listed as {document}, possible: {possible}"

    def _get(self, tenant: httpx.Client, place: str, state: State) -> dict[str, object]:
        answer = tenant.get(place)
        assert answer.status_code == 200, f"acknowledged and lost: {place}: {answer.text}"
        document: dict[str, object] = answer.json()
        assert state.shown_as(document), f"{place} is {document}, must be {state}"
        return document

    def _fetch(self, tenant: httpx.Client, place: str, state: State) -> None:
        answer = tenant.get(f"/documents/{self._get(tenant, place, state)['document_id']}/download")
        assert answer.status_code == 200, f"acknowledged and lost: {place}: {answer.text}"
        # Bits that turn on the way from the store are the reader's to see: it is told the digest.
        self.spoilt_downloads += hashlib.sha256(answer.content).hexdigest() != state.sha256

    def _find(self, tenant: httpx.Client, place: str, state: State) -> None:
        """What is ready is found, through whichever replica, and by nothing but itself."""
        document = self._get(tenant, place, state)
        if document["status"] != "ready":
            return
        if self.dice.random() < 0.5:
            assert calls.found(tenant, state.word) == [document["document_id"]], "ready and not found"
            return
        answer = calls.search(tenant, state.word, mode="hybrid", limit=20)
        self.degraded += answer["degraded"]
        found = [result["document_id"] for result in answer["results"]]
        assert document["document_id"] in found, f"ready and not among {len(found)} found"

    def _miss(self, tenant: httpx.Client) -> None:
        if self.buried:
            assert calls.found(tenant, self.dice.choice(self.buried)) == [], "deleted and found"

    def _pry(self, tenant: httpx.Client) -> None:
        """What belongs to another tenant is as what never was."""
        stranger = self.dice.choice(self.strangers)
        if theirs := list(stranger.by_id):
            answer = tenant.get(f"/documents/{self.dice.choice(theirs)}")
            assert answer.status_code == 404, f"another tenant's document is answered {answer.status_code}"
        if words := [state.word for _, state in stranger.definite(only_ids=True)[-3:]]:
            assert calls.found(tenant, self.dice.choice(words)) == [], "another tenant's word is found"
