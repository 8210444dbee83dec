"""Catalogs to test against: a fresh SQLite file or a fresh PostgreSQL database, migrated as in production."""

import random
from pathlib import Path

from s4.kernel.ids import RandomBytes
from s4.platform.database import Database, migrate, open_database

BACKENDS = ["sqlite", "postgres"]


def open_catalog(url: str) -> Database:
    """Migrates and opens. The caller closes."""
    migrate.upgrade(url)
    return open_database(url, pool_size=8, timeout_seconds=20)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'catalog.sqlite'}"


def seeded(seed: int) -> RandomBytes:
    """Randomness that repeats."""
    generator = random.Random(seed)
    return generator.randbytes
