"""What plans promise of a calendar month, and whether it was kept: availability and latency by the ledger of use.

A request counts as failed when S4 answered 5xx and its process was not stopping. The budget is the share of requests
that the promise lets fail; half of it spent means half as many failures as allowed. Latency is that of searches.
"""

from s4.domains.service_levels.service import ServiceLevels

__all__ = ["ServiceLevels"]
