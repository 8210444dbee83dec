"""The object store: one contract for a directory, a bucket of any S3 or of Google's, and memory.

The only room that knows obstore.

The bucket is the truth of a deployment, so this room promises more than the libraries under it do:

- **Create-if-absent is settled.** `create` answers `CREATED` or `TAKEN`, or raises because the outcome is unknown.
  An answer that was lost on the way is settled by reading the object back: equal bytes are our own.
- **Acknowledged is durable.** The directory is synced, file and directories, before a write returns.
- **Nothing ends short.** A download that breaks off is resumed where it stopped, and a size that does not come
  true raises.
- **Nothing hangs.** Every step has a deadline, retries are bounded, and a store that is away, throttles, refuses or
  is full is one error, `Unavailable`, with the reason in it.
- **Memory is constant.** An upload holds three parts at most, whatever the object's size.

`store.py` holds the contract, `local.py` and `remote.py` what it needs from a directory and from obstore, `signed.py`
single requests for whoever examines a bucket; `factory.py` opens the one that the settings name.
"""

from s4.platform.objects.base import (
    COPY_BYTES_MAX,
    NO_CONDITIONS,
    NO_CREDENTIALS,
    NOT_IMPLEMENTED,
    Capabilities,
    CreateOutcome,
    ObjectInfo,
    ObjectMissing,
    StoreFault,
    StoreUnavailable,
)
from s4.platform.objects.factory import of_replica, open_failing_over, open_replica, open_signed, open_store
from s4.platform.objects.signed import SignedRequests, StoreAnswer, ask_unsigned
from s4.platform.objects.store import ObjectStore, Upload

__all__ = [
    "COPY_BYTES_MAX",
    "NOT_IMPLEMENTED",
    "NO_CONDITIONS",
    "NO_CREDENTIALS",
    "Capabilities",
    "CreateOutcome",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "SignedRequests",
    "StoreAnswer",
    "StoreFault",
    "StoreUnavailable",
    "Upload",
    "ask_unsigned",
    "of_replica",
    "open_failing_over",
    "open_replica",
    "open_signed",
    "open_store",
]
