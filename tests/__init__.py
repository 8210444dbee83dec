"""Tests, and the servers and doubles that they share."""
