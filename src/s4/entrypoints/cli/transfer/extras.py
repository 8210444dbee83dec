"""Documents under the prefix whose files the directory does not have, and whether they may be deleted.

A document is missing its file only if its file was looked for: what was left out by a glob, lies in a directory that
cannot be read or behind a link, or has a file that was refused, is not extra.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from s4.entrypoints.cli.transfer.documents import KnownDocuments
from s4.entrypoints.cli.transfer.files import Finder
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome
from s4client import NotFound, PreconditionFailed, S4Client

_CHANGED = Failure("changed", "It was changed on the server meanwhile, so it was kept.")


@dataclass(frozen=True, slots=True)
class Extra:
    """A document to delete, and the version that it had when it was found to be extra."""

    outcome: Outcome
    version: int | str | None


def extra_documents(known: KnownDocuments, finder: Finder, seen: set[str]) -> list[Extra]:
    """After the finder has come to its end."""

    def was_looked_for(relative: str) -> bool:
        hidden_by = (each for each in finder.covered if not each or f"{relative}/".startswith(f"{each}/"))
        return finder.selection.takes(relative) and next(hidden_by, None) is None

    return sorted(
        (
            Extra(Outcome(path=key, key=key, action=Action.DELETED, document_id=document.document_id), document.version)
            for key, document in known
            if key not in seen and was_looked_for(key.removeprefix(finder.prefix))
        ),
        key=lambda extra: extra.outcome.path,
    )


def delete(client: S4Client, extras: Sequence[Extra], ended: Callable[[Outcome], None]) -> None:
    """Each at the version that was looked at: what somebody has changed since is kept. What is gone already, as after a
    repeat whose first answer was lost, counts as deleted."""
    for extra in extras:
        outcome = extra.outcome
        try:
            client.delete(outcome.document_id or "", if_match=f'"r{extra.version}"')
        except NotFound:
            pass
        except PreconditionFailed:
            outcome = dataclasses.replace(outcome, action=Action.REFUSED, failure=_CHANGED)
        ended(outcome)
