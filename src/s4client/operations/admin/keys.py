"""Keys of tenants, and administrators."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from s4client.flow import Flow, Request, operation
from s4client.models import AdministratorList, KeyList, NewAdministrator, NewKey
from s4client.operations.common import API, ServerOperations, given, segment
from s4client.operations.keys import FieldValue

_ADMINISTRATORS = f"{API}/admin/administrators"


class TenantKeysOperations(ServerOperations):
    """What an administrator does with a tenant's keys."""

    @operation
    def list_tenant_keys(self, tenant_id: str) -> Flow[KeyList]:
        """The tenant's keys, those too that ended lately."""
        reply = yield from self.send(Request(method="GET", path=f"{_tenant(tenant_id)}/keys", repeatable=True))
        return reply.parse(KeyList)

    @operation
    def create_tenant_key(
        self,
        tenant_id: str,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        key_prefix: str | None = None,
        filter: Mapping[str, FieldValue] | None = None,
    ) -> Flow[NewKey]:
        """A key for the tenant. It is in this answer only."""
        body = given(name=name, scopes=list(scopes), expires_at=expires_at, key_prefix=key_prefix, filter=filter)
        path = f"{_tenant(tenant_id)}/keys"
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewKey)

    @operation
    def rotate_tenant_key(self, tenant_id: str, prefix: str, *, overlap_seconds: int = 0) -> Flow[NewKey]:
        """A successor; the old key expires after the overlap."""
        path = f"{_tenant(tenant_id)}/keys/{segment(prefix)}/rotate"
        body = {"overlap_seconds": overlap_seconds}
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewKey)

    @operation
    def revoke_tenant_key(self, tenant_id: str, prefix: str) -> Flow[None]:
        """Revoke a key of the tenant."""
        path = f"{_tenant(tenant_id)}/keys/{segment(prefix)}"
        yield from self.send(Request(method="DELETE", path=path, repeatable=True))

    @operation
    def regenerate_key(self, tenant_id: str, *, overlap_seconds: int = 0) -> Flow[NewKey]:
        """A new key with all scopes; every other key of the tenant expires after the overlap."""
        path = f"{_tenant(tenant_id)}/regenerate-key"
        body = {"overlap_seconds": overlap_seconds}
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewKey)


class AdministratorsOperations(ServerOperations):
    """Who administers."""

    @operation
    def list_administrators(self) -> Flow[AdministratorList]:
        """All administrators."""
        reply = yield from self.send(Request(method="GET", path=_ADMINISTRATORS, repeatable=True))
        return reply.parse(AdministratorList)

    @operation
    def create_administrator(
        self, name: str, role: str, *, expires_at: datetime | None = None
    ) -> Flow[NewAdministrator]:
        """An administrator; `role` is owner, operator or auditor. The key is in this answer only."""
        body = given(name=name, role=role, expires_at=expires_at)
        reply = yield from self.send(Request(method="POST", path=_ADMINISTRATORS, json=body, repeatable=False))
        return reply.parse(NewAdministrator)

    @operation
    def rotate_administrator(self, name: str, *, overlap_seconds: int = 0) -> Flow[NewAdministrator]:
        """A new key; the old one expires after the overlap."""
        path = f"{_ADMINISTRATORS}/{segment(name)}/rotate"
        body = {"overlap_seconds": overlap_seconds}
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewAdministrator)

    @operation
    def revoke_administrator(self, name: str) -> Flow[None]:
        """Take the administrator's key away, and the administrator."""
        yield from self.send(Request(method="DELETE", path=f"{_ADMINISTRATORS}/{segment(name)}", repeatable=False))


def _tenant(tenant_id: str) -> str:
    return f"{API}/admin/tenants/{segment(tenant_id)}"
