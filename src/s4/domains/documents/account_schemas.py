"""HTTP shapes of the administrator's view of storage."""

from datetime import datetime

from pydantic import BaseModel, Field

from s4.domains.usage import Balance, Holding


class BalanceOut(BaseModel):
    """What quotas count."""

    storage_used: int = Field(description="Bytes of live documents.")
    storage_reserved: int = Field(description="Bytes promised to uploads under way.")
    document_count: int
    documents_reserved: int

    @classmethod
    def of(cls, balance: Balance) -> "BalanceOut":
        return cls(
            storage_used=balance.stored_bytes,
            storage_reserved=balance.reserved_bytes,
            document_count=balance.documents,
            documents_reserved=balance.reserved_documents,
        )


class QuotaOut(BalanceOut):
    storage_limit: int | None
    documents_limit: int | None


class HoldingOut(BaseModel):
    bytes: int
    objects: int

    @classmethod
    def of(cls, holding: Holding) -> "HoldingOut":
        return cls(bytes=holding.size_bytes, objects=holding.objects)


class _StorageFields(BaseModel):
    total_bytes: int = Field(description="In the bucket; the sum of the classes.")
    objects: int
    classes: dict[str, HoldingOut] = Field(
        description="By class: content, text, old_versions, heads, index, embeddings, system, backup, other."
    )
    listed_at: datetime | None = Field(description="When the bucket was listed; null before the first time.")


class StorageOut(_StorageFields):
    quota: BalanceOut


class TenantStorageOut(_StorageFields):
    tenant_id: str
    quota: QuotaOut


class RecountOut(BaseModel):
    """`noted` is what the balance said, `counted` what there is and what it says now."""

    tenant_id: str
    noted: BalanceOut
    counted: BalanceOut
    repaired: bool
