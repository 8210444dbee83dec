"""One factory module per domain, and real deployments to test against."""
