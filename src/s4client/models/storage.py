"""What tenants hold."""

from collections.abc import Mapping
from datetime import datetime

from s4client.models.base import Model


class Balance(Model):
    """What quotas count. Limits that are None do not bind."""

    storage_used: int
    storage_reserved: int
    document_count: int
    documents_reserved: int
    storage_limit: int | None = None
    documents_limit: int | None = None


class Holding(Model):
    """Bytes and objects in the bucket."""

    bytes: int
    objects: int


class Storage(Model):
    """The bucket by class, as it was listed last, and the sum of all balances, which is another figure."""

    total_bytes: int
    objects: int
    classes: Mapping[str, Holding]
    listed_at: datetime | None
    quota: Balance


class TenantStorage(Storage):
    """Of one tenant."""

    tenant_id: str


class Recount(Model):
    """What the balance said, and what there is and it says now."""

    tenant_id: str
    noted: Balance
    counted: Balance
    repaired: bool
