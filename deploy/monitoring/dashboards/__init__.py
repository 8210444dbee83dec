"""Every dashboard of S4, the overview first."""

from deploy.monitoring.dashboards import api, indexing, security, slo, store, system, tenants
from deploy.monitoring.dashboards.model import Board, Panel, Row, rendered

__all__ = ["BOARDS", "Board", "Panel", "Row", "rendered"]

BOARDS: tuple[Board, ...] = (
    system.BOARD,
    api.BOARD,
    store.BOARD,
    indexing.BOARD,
    tenants.BOARD,
    slo.BOARD,
    security.BOARD,
)
