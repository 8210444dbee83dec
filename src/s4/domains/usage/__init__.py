"""What a tenant holds, to the byte, and what it used, by the hour.

The balance, one per tenant, is moved in the transactions that change documents; beside it stands what the tenant takes
in the bucket, by class, from listings. The ledger (`ledger.py` says which rows there are) is fed by the meter of every
process (`meter.py`), by the transactions that store, delete and index documents (`add`), and by an hourly sample of
the balances (`keeper.py`).
"""

from s4.domains.usage.costs import Prices
from s4.domains.usage.keeper import LedgerKeeper
from s4.domains.usage.meter import Meter
from s4.domains.usage.model import Balance, Crossing, Holding, Room, StorageClass
from s4.domains.usage.queries import storage
from s4.domains.usage.queries.balances import balance, correct, lock, open_balance, release, reserve, settle, total
from s4.domains.usage.queries.writing import add, calls_of, calls_this_month, last_activity, require_tokens, reset_calls
from s4.domains.usage.rollups import RollUps
from s4.domains.usage.service import UsageService

__all__ = [
    "Balance",
    "Crossing",
    "Holding",
    "LedgerKeeper",
    "Meter",
    "Prices",
    "RollUps",
    "Room",
    "StorageClass",
    "UsageService",
    "add",
    "balance",
    "calls_of",
    "calls_this_month",
    "correct",
    "last_activity",
    "lock",
    "open_balance",
    "release",
    "require_tokens",
    "reserve",
    "reset_calls",
    "settle",
    "storage",
    "total",
]
