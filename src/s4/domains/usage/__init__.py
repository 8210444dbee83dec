"""What a tenant holds, to the byte: one balance per tenant, moved in the transactions that change documents; and what
it takes in the bucket, by class, from listings."""

from s4.domains.usage.model import Balance, Crossing, Holding, Room, StorageClass
from s4.domains.usage.queries import storage
from s4.domains.usage.queries.balances import balance, correct, lock, open_balance, release, reserve, settle, total

__all__ = [
    "Balance",
    "Crossing",
    "Holding",
    "Room",
    "StorageClass",
    "balance",
    "correct",
    "lock",
    "open_balance",
    "release",
    "reserve",
    "settle",
    "storage",
    "total",
]
