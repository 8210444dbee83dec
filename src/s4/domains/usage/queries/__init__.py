"""All SQL on what tenants hold and use: balances, the ledger's writing, its reading."""

from s4.domains.usage.queries.balances import Balance, adjust, balance, open_balance, release, reserve
from s4.domains.usage.queries.writing import add, calls_this_month, last_activity, reset_calls

__all__ = [
    "Balance",
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
