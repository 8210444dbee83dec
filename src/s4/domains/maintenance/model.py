"""The vocabulary of a deployment."""

from dataclasses import dataclass

FIRST_TERM = 1
REBUILDING = "rebuilding"
SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Deployment:
    """`state` is `rebuilding` until the catalog has adopted what is in the bucket."""

    epoch: str
    state: str
    term: int = FIRST_TERM
