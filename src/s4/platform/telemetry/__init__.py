"""Metrics and logs: one catalogue of each."""
