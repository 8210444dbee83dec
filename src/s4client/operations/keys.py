"""What a tenant's key does with the tenant's keys."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from s4client.flow import Flow, Request, operation
from s4client.models import KeyList, NewKey
from s4client.operations.common import API, ServerOperations, given, segment

FieldValue = str | float | bool


class KeysOperations(ServerOperations):
    """With the scope `keys:manage`."""

    @operation
    def list_keys(self) -> Flow[KeyList]:
        """The keys, those too that ended lately."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/keys", repeatable=True))
        return reply.parse(KeyList)

    @operation
    def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        key_prefix: str | None = None,
        filter: Mapping[str, FieldValue] | None = None,
    ) -> Flow[NewKey]:
        """A key, bound to the documents under `key_prefix` and with the metadata of `filter` if these are given. It is
        in this answer only."""
        body = given(name=name, scopes=list(scopes), expires_at=expires_at, key_prefix=key_prefix, filter=filter)
        reply = yield from self.send(Request(method="POST", path=f"{API}/keys", json=body, repeatable=False))
        return reply.parse(NewKey)

    @operation
    def create_child_key(
        self,
        scopes: Sequence[str],
        *,
        ttl_seconds: int | None = None,
        key_prefix: str | None = None,
        filter: Mapping[str, FieldValue] | None = None,
    ) -> Flow[NewKey]:
        """A key for an hour at most, that dies with the one that asks for it."""
        body = given(scopes=list(scopes), ttl_seconds=ttl_seconds, key_prefix=key_prefix, filter=filter)
        reply = yield from self.send(Request(method="POST", path=f"{API}/keys/child", json=body, repeatable=False))
        return reply.parse(NewKey)

    @operation
    def rotate_key(self, prefix: str, *, overlap_seconds: int = 0) -> Flow[NewKey]:
        """A successor; the old key expires after the overlap."""
        path = f"{API}/keys/{segment(prefix)}/rotate"
        body = {"overlap_seconds": overlap_seconds}
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewKey)

    @operation
    def revoke_key(self, prefix: str, *, force: bool = False) -> Flow[None]:
        """Revoke a key; with `force` also the last one that can make keys."""
        path = f"{API}/keys/{segment(prefix)}"
        params = {"force": "true"} if force else {}
        yield from self.send(Request(method="DELETE", path=path, params=params, repeatable=True))
