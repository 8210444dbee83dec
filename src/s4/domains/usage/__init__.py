"""What a tenant holds, to the byte: one balance per tenant, moved in the transactions that change documents; and what
it takes in the bucket, by class, from listings."""

from s4.domains.usage.model import Balance, Crossing, Holding, Room, StorageClass
from s4.domains.usage.queries import storage
from s4.domains.usage.queries.balances import balance, correct, lock, open_balance, release, reserve, settle, total
from s4.domains.usage.queries.calls import calls_this_month, last_activity, restart_calls

__all__ = [
    "Balance",
    "Crossing",
    "Holding",
    "Room",
    "StorageClass",
    "balance",
    "calls_this_month",
    "correct",
    "last_activity",
    "lock",
    "open_balance",
    "release",
    "reserve",
    "restart_calls",
    "settle",
    "storage",
    "total",
]
