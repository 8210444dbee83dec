"""What a tenant holds, to the byte: one balance per tenant, moved in the transactions that change documents."""

from s4.domains.usage.queries import (
    Balance,
    adjust,
    balance,
    calls_this_month,
    last_activity,
    open_balance,
    release,
    reserve,
    restart_calls,
)

__all__ = [
    "Balance",
    "adjust",
    "balance",
    "calls_this_month",
    "last_activity",
    "open_balance",
    "release",
    "reserve",
    "restart_calls",
]
