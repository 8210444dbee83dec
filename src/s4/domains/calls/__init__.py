"""How many calls a month still admits: the plan's limit, handed out to processes in blocks.

No request writes to the catalog for being counted. A process debits a block of calls from the tenant's month and counts
down in memory; blocks shrink as the limit nears, down to single calls, so no call beyond the limit is ever admitted,
however many processes there are. A block that is not used up goes back when its process stops, or when it has lain for
a while; that of a killed process is written off by a reconciler: `lost` says how many calls at most that cost.

Metering (`usage`) counts what was done, for the bill. This here admits.
"""

from s4.domains.calls.model import Month, MonthlyCalls
from s4.domains.calls.service import CallBudget

__all__ = ["CallBudget", "Month", "MonthlyCalls"]
