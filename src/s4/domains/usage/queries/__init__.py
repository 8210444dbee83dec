"""All SQL on what tenants hold and use: balances, the bucket by class, the ledger's writing and its reading."""
