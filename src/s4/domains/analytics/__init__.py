"""The operator's view of use: of a tenant, of all together, of the most, of endpoints. Reads the ledger of `usage` and
the names of `tenants`; owns nothing."""

from s4.domains.analytics.service import AnalyticsService

__all__ = ["AnalyticsService"]
