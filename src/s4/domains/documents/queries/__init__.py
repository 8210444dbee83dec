"""All SQL on documents: `rows`, `reservations`, `idempotency`, `listing`, `filters`, `scope`."""
