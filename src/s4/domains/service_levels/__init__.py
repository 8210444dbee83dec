"""What plans promise of a month, and whether it was kept: availability and latency from the ledger."""
