"""How a tenant leaves, and comes: with everything that is its own, and so that nothing of it stays.

    export     what a tenant has, piece by piece, in the layout of docs/reference/export-format.md
    imports    the same into another deployment: documents under their old times, vectors that need not be paid again
    retention  when S4's own data goes
    erasures   what becomes of a deleted tenant's bytes and rows, until a signed receipt says that nothing is left

An export is pulled: whoever wants it asks for pages, contents and vectors, and can go on wherever it stopped. So the
server holds no state of it, and no second copy of the tenant.
"""

from s4.domains.leaving.erasure_model import Erasure, ErasureState, Remaining
from s4.domains.leaving.erasures import Elsewhere, Erasures, ErasureTimes, Remains, erased_tenants
from s4.domains.leaving.exports import ExportService
from s4.domains.leaving.imports import ImportService
from s4.domains.leaving.own_data import Kept, OwnData

__all__ = [
    "Elsewhere",
    "Erasure",
    "ErasureState",
    "ErasureTimes",
    "Erasures",
    "ExportService",
    "ImportService",
    "Kept",
    "OwnData",
    "Remaining",
    "Remains",
    "erased_tenants",
]
