"""Credentials as values: how they are made, recognised and compared. Who holds which: `domains/access`."""
