"""Who did what: every administrative act, every call of the administrator's routes, every refused credential.

Three ways lead into the trail. `record` is part of the transaction that makes an act visible. `CallRecorder` notes
every call under `/admin`, reads and refusals too, after it was answered, and writes them in batches, so that no request
waits for another; the two meet in `request_id`. Nothing is changed or removed afterwards.

The `Sealer`, one at a time, makes the trail tamper-evident: it chains what is not sealed yet by hash, writes it to the
bucket as an immutable batch, then notes batch, position and hash beside the rows. The `Verifier` compares the rows with
the batches and the chain with itself, and names the first entry that is not as it was. Decision 0022 says against whom
this helps.
"""

from s4.domains.audit.calls import CallRecorder
from s4.domains.audit.queries import been, record
from s4.domains.audit.sealer import Sealer
from s4.domains.audit.service import AuditService
from s4.domains.audit.verifier import Verifier

__all__ = ["AuditService", "CallRecorder", "Sealer", "Verifier", "been", "record"]
