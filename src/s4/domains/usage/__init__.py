"""What a tenant holds, to the byte, and what it used, by the hour.

The balance, one per tenant, is moved in the transactions that change documents. The ledger (`ledger.py` says which
rows there are) is fed by the meter of every process (`meter.py`), by the transactions that store, delete and index
documents (`add`), and by an hourly sample of the balances (`keeper.py`).
"""

from s4.domains.usage.costs import Prices
from s4.domains.usage.keeper import LedgerKeeper
from s4.domains.usage.meter import Meter
from s4.domains.usage.queries import (
    Balance,
    add,
    adjust,
    balance,
    calls_this_month,
    last_activity,
    open_balance,
    release,
    reserve,
    reset_calls,
)
from s4.domains.usage.service import UsageService

__all__ = [
    "Balance",
    "LedgerKeeper",
    "Meter",
    "Prices",
    "UsageService",
    "add",
    "adjust",
    "balance",
    "calls_this_month",
    "last_activity",
    "open_balance",
    "release",
    "reserve",
    "reset_calls",
]
