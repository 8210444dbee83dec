"""Documents under the prefix whose files the directory does not have, and whether they may be deleted.

A document is missing its file only if its file was looked for: what was left out by a glob, lies in a directory that
cannot be read or behind a link, or has a file that was refused, is not extra.
"""

from collections.abc import Callable, Sequence

from s4.entrypoints.cli.transfer.documents import KnownDocuments
from s4.entrypoints.cli.transfer.files import Finder
from s4.entrypoints.cli.transfer.outcomes import Action, Outcome
from s4client import S4Client

BATCH = 1000
"""Most ids that one request may name."""


def extra_documents(known: KnownDocuments, finder: Finder, seen: set[str]) -> list[Outcome]:
    """After the finder has come to its end."""

    def was_looked_for(relative: str) -> bool:
        hidden_by = (each for each in finder.covered if not each or f"{relative}/".startswith(f"{each}/"))
        return finder.selection.takes(relative) and next(hidden_by, None) is None

    return sorted(
        (
            Outcome(path=key, key=key, action=Action.DELETED, document_id=document.document_id)
            for key, document in known
            if key not in seen and was_looked_for(key.removeprefix(finder.prefix))
        ),
        key=lambda outcome: outcome.path,
    )


def delete(client: S4Client, extras: Sequence[Outcome], ended: Callable[[Outcome], None]) -> None:
    """What is gone already, as after a repeat whose first answer was lost, counts as deleted."""
    for start in range(0, len(extras), BATCH):
        batch = extras[start : start + BATCH]
        client.bulk_delete([outcome.document_id or "" for outcome in batch])
        for outcome in batch:
            ended(outcome)
