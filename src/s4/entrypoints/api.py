"""The HTTP application: every domain's routes under `/api/v1` and `/api`, operations at the root."""

from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from s4 import __version__
from s4.domains.access.routes import administrators_router, child_keys_router, keys_router, tenant_keys_router
from s4.domains.analytics.routes import analytics_router
from s4.domains.announcements.routes import mail_router, maintenance_admission, notices_router, status_router
from s4.domains.audit.routes import audit_router
from s4.domains.backup.routes import backups_router
from s4.domains.documents.routes import (
    UploadRouteLimits,
    accounts_router,
    archive_router,
    changes_router,
    holds_router,
    keeping_router,
    reading_router,
    uploads_router,
)
from s4.domains.leaving.routes import ArrivalLimits, erasures_router, exports_router, imports_router
from s4.domains.plans.routes import plans_router
from s4.domains.search.routes import search_router
from s4.domains.service_levels.routes import service_levels_router
from s4.domains.tenants.routes import profile_router, tenants_router
from s4.domains.upkeep import Checklist, ScheduleService
from s4.domains.upkeep.routes import upkeep_router
from s4.domains.usage.routes import usage_router
from s4.domains.webhooks.routes import webhooks_router
from s4.entrypoints.admissions import PlanRates, call_admission, take_back_refused
from s4.entrypoints.bootstrap import RANDOM, Core, make_backups, make_places, metadata_limits
from s4.entrypoints.operations import ProcessState, operations_router
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.middleware import Finished, HttpLimits, HttpMiddleware
from s4.platform.http.promises import Promises
from s4.platform.http.proxies import TrustedProxies
from s4.platform.http.routing import undeclared_routes
from s4.platform.outbound.addresses import parse_networks
from s4.platform.rates import Rate

API_VERSION = "1"
_QUIET = frozenset({"/health", "/health/live", "/health/ready", "/metrics", "/status"})

_NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
"""The library's own would tell queries and what exceptions say to whomever the environment names; S4's is
`platform/telemetry/traces.py`."""

_DESCRIPTION = """
Upload documents, find them by meaning. Every tenant route takes the tenant's key in `X-Tenant-Key` or as a bearer
token; administrator routes take `X-Admin-Key`. Errors are `{"error": {"code", "message", "details"}}`.
"""


def create_app(core: Core, state: ProcessState) -> FastAPI:
    """Raises `RuntimeError` when a route declares no permission."""
    settings = core.settings
    app = FastAPI(
        title="S4", version=__version__, description=_DESCRIPTION, redirect_slashes=False, telemetry=_NO_TELEMETRY
    )
    app.state.s4_authenticator = core.access
    default_rate = Rate(settings.rate_limit_requests_per_second, settings.rate_limit_burst)
    app.state.s4_rate_gate = PlanRates(core.buckets, default_rate)
    app.state.s4_places = make_places(settings)
    app.state.s4_admissions = (maintenance_admission(core.board), call_admission(core.calls))
    install_error_handlers(app)

    def announced(tenant_id: str) -> list[dict[str, Any]]:
        return core.board.for_profile(tenant_id)

    promises = Promises(
        availability=settings.slo_availability,
        latency=settings.slo_latency,
        search_seconds=settings.slo_search_seconds,
    )

    def metered(finished: Finished) -> None:
        excused = state.draining or finished.exchange.excused
        core.meter.observe(finished, excused=excused)
        promises.observe(finished, excused=excused)

    def audited(finished: Finished) -> None:
        core.admin_calls.note(finished)

    upload_limits = UploadRouteLimits(
        bytes_max=settings.upload_bytes_max,
        idle_seconds_max=settings.upload_idle_seconds_max,
        seconds_max=settings.upload_seconds_max,
        metadata=metadata_limits(settings),
    )
    arrival_limits = ArrivalLimits(
        bytes_max=settings.upload_bytes_max,
        idle_seconds_max=settings.upload_idle_seconds_max,
        seconds_max=settings.upload_seconds_max,
        metadata=metadata_limits(settings),
    )
    # By-key routes come first: their paths would otherwise match as ids.
    routers = (
        uploads_router(core.uploads, upload_limits),
        reading_router(core.documents, core.archive, leaving=lambda: state.closing),
        changes_router(core.documents),
        archive_router(core.archive),
        holds_router(core.holds),
        keeping_router(core.holds, core.retention),
        search_router(core.search),
        tenants_router(core.tenants, core.lifecycle),
        exports_router(core.exports),
        imports_router(core.imports, arrival_limits),
        erasures_router(core.erasures),
        profile_router(core.tenants, core.plans, announced),
        plans_router(core.plans),
        accounts_router(core.accounts),
        usage_router(core.usage),
        analytics_router(core.analytics),
        service_levels_router(core.service_levels),
        child_keys_router(core.keys),
        keys_router(core.keys),
        tenant_keys_router(core.keys),
        administrators_router(core.administrators),
        audit_router(core.audit),
        backups_router(make_backups(core)),
        upkeep_router(ScheduleService(core.database, core.queue), Checklist(core.database)),
        notices_router(core.notices),
        mail_router(core.contacts, core.mailbox),
        webhooks_router(core.webhooks),
    )
    app.include_router(operations_router(core, state))
    app.include_router(status_router(core.board))
    # Not as one router that holds them: each level that a request goes down is matched anew.
    for router in routers:
        app.include_router(router, prefix="/api/v1")
    for router in routers:
        app.include_router(router, prefix="/api", include_in_schema=False)
    app.add_middleware(
        HttpMiddleware,
        limits=HttpLimits(
            request_body_bytes_max=settings.request_body_bytes_max,
            request_body_seconds_max=settings.upload_idle_seconds_max,
            api_version=API_VERSION,
            quiet_routes=_QUIET,
            logged_share=settings.log_requests_share,
            slow_seconds=settings.log_slow_seconds,
            proxies=TrustedProxies(parse_networks(settings.trusted_proxies), settings.forwarded_header.value),
        ),
        random=RANDOM,
        observers=(take_back_refused(core.calls), metered, audited),
        leaving=lambda: state.draining,
    )
    undeclared = undeclared_routes(app)
    if undeclared:
        raise RuntimeError(f"routes without a permission: {', '.join(undeclared)}")
    return app
