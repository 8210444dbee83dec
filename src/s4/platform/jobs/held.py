"""What a process holds, as far as it knows: for the heartbeat, which lets everything else run out.

The catalog may say more: an answer got lost, so nobody does what was claimed; or what was done could not be handed
back, since the catalog was away just then. Were those kept alive, too, nobody would ever take them over.
"""


class Held:
    """Filled on the event loop; read by the heartbeat's thread."""

    def __init__(self) -> None:
        self._jobs: set[str] = set()
        self._leases: set[str] = set()

    def take_job(self, lease_token: str) -> None:
        self._jobs.add(lease_token)

    def leave_job(self, lease_token: str) -> None:
        self._jobs.discard(lease_token)

    def take_lease(self, name: str) -> None:
        self._leases.add(name)

    def leave_lease(self, name: str) -> None:
        self._leases.discard(name)

    def leave_leases(self) -> None:
        self._leases.clear()

    @property
    def job_tokens(self) -> list[str]:
        return list(self._jobs.copy())  # one step of the interpreter: the loop may change the set meanwhile

    @property
    def lease_names(self) -> list[str]:
        return list(self._leases.copy())
