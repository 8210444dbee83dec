"""Head chains: how an acknowledged change becomes true in the bucket before it becomes visible in the catalog.

The state of a subject (a document, a tenant) is the newest head of its chain: small immutable objects, revision by
revision, each created only if absent. A change passes four points:

1. **Seal** (one catalog transaction): a ticket says that this writer makes the subject's next revision, the current
   state is read, and everything that can refuse refuses.
2. **Commit** (one create-if-absent in the store): from here on the change is true. Nothing may refuse after it.
3. **Settle** (one catalog transaction): the catalog moves to the head, follow-up jobs are enqueued, the ticket goes.
4. The caller is answered.

A writer that dies between 1 and 3 leaves its ticket. After a lease, whoever comes next resolves it: it creates the
ticket's revision as `abandoned`, which fences the slow writer off for ever (should it still live, it is answered
`Fenced`); if the head is there already, the catalog adopts it. So a crash loses nothing that was acknowledged and
blocks nobody for long. The catalog is at all times a function of heads: `ChainKind.apply` is the only code that moves
it, for writers, adoption and rebuild alike.

Only one ticket per subject exists at a time, so revisions have no gaps and every head is computed from its
predecessor. Uploads stream their bytes before they seal: a slow upload blocks neither patch nor delete.

`Records` are chains of the operator's configuration, all of one shape.
"""

from s4.platform.chains.head import ABANDONED, ChainKind, Draft, Head, Subject
from s4.platform.chains.records import Record, RecordChain, Records, whose
from s4.platform.chains.writer import Chains, ChainTimings, Fenced

__all__ = [
    "ABANDONED",
    "ChainKind",
    "ChainTimings",
    "Chains",
    "Draft",
    "Fenced",
    "Head",
    "Record",
    "RecordChain",
    "Records",
    "Subject",
    "whose",
]
