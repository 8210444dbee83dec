"""Backups of a whole deployment, going back to one, and proving that it works.

`Creator` copies what is new to a `Place` and writes the manifest last; `Verifier` reads it back; `Pruner` removes what
has expired. `Restorer` fills an empty store with a whole backup; `Rewinder` takes tenants back in place or beside the
live one, to a backup or to any moment that the chains in the bucket still tell (`sources`). `Drill` restores the latest
one into scratch and measures how long it takes and how much would be lost. `BackupService` is what workers do of it by
themselves. What is consistent about a backup, `snapshot` says.
"""

from s4.domains.backup.creator import Creator
from s4.domains.backup.drill import Drill, Drilled
from s4.domains.backup.erased import ErasedSince, erased_by_place, erased_in, together
from s4.domains.backup.model import LATEST, Erased, Manifest, Retention
from s4.domains.backup.place import Place
from s4.domains.backup.pruner import Pruner
from s4.domains.backup.readers import reading
from s4.domains.backup.restorer import Restored, Restorer
from s4.domains.backup.rewinder import Rewinder
from s4.domains.backup.rewound import Rewound
from s4.domains.backup.service import BackupService
from s4.domains.backup.sources import BackupSource, ChainSource
from s4.domains.backup.verifier import Verification, Verifier

__all__ = [
    "LATEST",
    "BackupService",
    "BackupSource",
    "ChainSource",
    "Creator",
    "Drill",
    "Drilled",
    "Erased",
    "ErasedSince",
    "Manifest",
    "Place",
    "Pruner",
    "Restored",
    "Restorer",
    "Retention",
    "Rewinder",
    "Rewound",
    "Verification",
    "Verifier",
    "erased_by_place",
    "erased_in",
    "reading",
    "together",
]
