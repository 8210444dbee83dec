"""What a tenant holds, to the byte: one balance per tenant, moved in the transactions that change documents."""

from s4.domains.usage.queries import Balance, adjust, balance, open_balance, release, reserve

__all__ = ["Balance", "adjust", "balance", "open_balance", "release", "reserve"]
