"""Statements on balances and on what the bucket holds."""
