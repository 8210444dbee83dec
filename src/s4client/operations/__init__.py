"""What a client can do: every operation, once. See `flow.py` for how they run, blocking or not.

`common`: paths, and what needs no key. `documents`: putting in, looking at, taking out. `waiting`: until documents
are searchable. `tenant` and `admin`: what the two kinds of keys open.
"""

from s4client.operations.admin import AdminOperations
from s4client.operations.tenant import TenantOperations

__all__ = ["AdminOperations", "TenantOperations"]
