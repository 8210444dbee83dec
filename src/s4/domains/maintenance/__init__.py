"""What keeps a deployment whole: reconcilers without input, garbage collection, rebuild from the bucket.

Each job looks at catalog and bucket and mends what a crash, a lost job or a lost database left behind; run twice, it
does nothing the second time. Jobs that delete run only while the catalog bears the bucket's epoch and has adopted
all that is in it.
"""

from s4.domains.maintenance.departures import Departures
from s4.domains.maintenance.model import Deployment
from s4.domains.maintenance.rebuild import Rebuild
from s4.domains.maintenance.releases import Releases
from s4.domains.maintenance.repairs import Repairs
from s4.domains.maintenance.replication import Replicator
from s4.domains.maintenance.service import MaintenanceLimits, MaintenanceService
from s4.domains.maintenance.terms import TermWatch
from s4.domains.maintenance.tidying import Tidying
from s4.domains.maintenance.trimming import Trimming

__all__ = [
    "Departures",
    "Deployment",
    "MaintenanceLimits",
    "MaintenanceService",
    "Rebuild",
    "Releases",
    "Repairs",
    "Replicator",
    "TermWatch",
    "Tidying",
    "Trimming",
]
