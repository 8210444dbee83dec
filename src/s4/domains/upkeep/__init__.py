"""What keeps a deployment well, and how it is seen that it is: for operators, and for `s4 doctor`.

`schedule` shows everything regular and runs it before its time. `checklist` is what a person has to do again and
again, each item with when it was last done and what shows that. `degradation` compares the last hour with the same
hour of the seven days before. `queries` look at the queue, the index and the ledger as a doctor does: they change
nothing.
"""

from s4.domains.upkeep.checklist import ITEMS, Checklist, Item, ItemState, mark_done
from s4.domains.upkeep.schedule import ScheduleService

__all__ = ["ITEMS", "Checklist", "Item", "ItemState", "ScheduleService", "mark_done"]
