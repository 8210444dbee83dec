"""What the calendar does with tenants: plans that end, and tenants whose grace is over.

A tenant goes in two movements. Its tombstone is a head like any other, and from then on nobody comes in. Then its rows
leave the catalog, batch by batch, in whatever number of runs it takes: a run looks for rows of tombstones, so it ends
what a crash broke off, and what a writer that was late still brought in. Its bytes go as well, which `leaving.Erasures`
proves with a receipt; a catalog that is rebuilt reads the tombstone and adopts nothing behind it.
"""

from s4.domains.leaving import Erasures
from s4.domains.maintenance.report import Report
from s4.domains.tenants import TenantLifecycle
from s4.platform.faults import failpoint

_TENANTS_MAX = 200  # of one run, each with a commit in the bucket; the next run goes on


class Departures:
    """Call `run` regularly; twice does no harm."""

    def __init__(self, lifecycle: TenantLifecycle, erasures: Erasures) -> None:
        self._lifecycle = lifecycle
        self._erasures = erasures

    async def run(self) -> Report:
        """Notes plans that have ended, deletes tenants whose grace is over, clears up behind tombstones."""
        report = Report()
        report.add("plans_followed", await self._lifecycle.follow_expired_plans(limit=_TENANTS_MAX))
        failpoint("depart.plans_followed")
        report.add("tenants_deleted", await self._lifecycle.finish_due_deletions(limit=_TENANTS_MAX))
        failpoint("depart.buried")
        report.add("erasures_begun", await self._erasures.begin_missing())
        rows, proved = await self._erasures.run()
        report.add("forgotten_rows", rows)
        report.add("erasures_proved", proved)
        report.add("forgotten_rows", await self._erasures.forget_left_behind(limit=_TENANTS_MAX))
        return report
