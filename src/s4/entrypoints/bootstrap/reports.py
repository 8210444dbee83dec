"""What the monthly reviews are made by."""

from s4.domains.reports import MachinePrices, ReportService
from s4.entrypoints.bootstrap.core import Core


def make_reports(core: Core) -> ReportService:
    settings = core.settings
    machines = MachinePrices(
        api=settings.price_api_month,
        workers=settings.price_workers_month,
        database=settings.price_database_month,
        archived_gib=settings.price_archived_gib_month,
    )
    return ReportService(core.database, core.service_levels, core.usage.prices, machines)
