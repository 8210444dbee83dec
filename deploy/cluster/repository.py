"""What the tests have and a cluster wants as well: real servers from wheels, and programs on a leash."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # `tests` is no installed package

from tests.leash import leashed
from tests.servers import PostgreSQL, RedisServer, SeaweedFS, ServerStartError, free_ports

__all__ = ["PostgreSQL", "RedisServer", "SeaweedFS", "ServerStartError", "free_ports", "leashed"]
