"""The catalog's database: SQLite in one file, or PostgreSQL. The same statements, the same guarantees.

Public face: `Database` (short read and write transactions), `metadata` (the tables register here), `UtcDateTime`.
"""

from s4.platform.database.engine import Connection, Database, end_what_falls_silent, is_there, open_database
from s4.platform.database.schema import (
    JsonValue,
    PlainText,
    UtcDateTime,
    adding,
    merging,
    metadata,
    newer,
    unkeyed,
    upsert,
)

__all__ = [
    "Connection",
    "Database",
    "JsonValue",
    "PlainText",
    "UtcDateTime",
    "adding",
    "end_what_falls_silent",
    "is_there",
    "merging",
    "metadata",
    "newer",
    "open_database",
    "unkeyed",
    "upsert",
]
