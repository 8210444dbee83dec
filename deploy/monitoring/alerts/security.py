"""Who tries what, whether the trail of it can be trusted, and single tenants in trouble."""

from deploy.monitoring.alerts.conditions import counted, fallen, measured
from deploy.monitoring.alerts.model import HOUR, MINUTE, Alert, Cause, Severity
from deploy.monitoring.baseline import API, EXPORTER, constant, steady

_SECURITY = (
    Alert(
        name="S4KeysGuessed",
        area="security",
        summary="Somebody guesses keys",
        description="{{ $value | humanize }} credentials a second that no key of S4 fits.",
        severity=Severity.PAGE,
        expression='sum(rate(s4_auth_failures_total{reason=~"unknown|malformed"}[5m])) > 1',
        held=2 * MINUTE,
        cause=Cause(series={f's4_auth_failures_total{{reason="unknown",{API}}}': steady(300)}, minutes=15),
        **counted("s4_auth_failures_total", more_than=300, within=5 * MINUTE, labels={"reason": "unknown|malformed"}),
    ),
    Alert(
        name="S4KeysExpired",
        area="security",
        summary="Somebody goes on with a key that has ended",
        description="{{ $value | humanize }} requests within half an hour with keys that have expired or were revoked.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_auth_failures_total{reason=~"expired|revoked"}[30m])) > 100',
        held=5 * MINUTE,
        cause=Cause(series={f's4_auth_failures_total{{reason="expired",{API}}}': steady(20)}, minutes=40),
        **counted("s4_auth_failures_total", more_than=100, within=30 * MINUTE, labels={"reason": "expired|revoked"}),
    ),
    Alert(
        name="S4AdminFromNewAddress",
        area="security",
        summary="An administrator's key is used from a new address",
        description="{{ $value | humanize }} times within an hour, a key came from where its holder never was.",
        severity=Severity.TICKET,
        expression="sum(increase(s4_admin_new_addresses_total[1h])) > 0.5",
        cause=Cause(series={f"s4_admin_new_addresses_total{{{API}}}": f"0x5 {constant(1)}"}, minutes=20),
        **counted("s4_admin_new_addresses_total", more_than=0, within=HOUR),
    ),
    Alert(
        name="S4AuditChainBroken",
        area="security",
        summary="The audit trail was changed",
        description="The last verification did not find it as it was sealed.",
        severity=Severity.PAGE,
        expression='min(s4_audit_chain_ok{process="api"}) == 0',
        cause=Cause(series={f"s4_audit_chain_ok{{{API}}}": constant(0)}, minutes=15),
        **fallen("s4_audit_chain_ok", below=1, labels={"process": "api"}),
    ),
    Alert(
        name="S4AuditUnsealed",
        area="security",
        summary="The audit trail is not sealed",
        description="Its oldest open entry is {{ $value | humanizeDuration }} old: until it is sealed, whoever can "
        "write to the database can change it unseen.",
        severity=Severity.TICKET,
        expression="max(s4_audit_unsealed_seconds) > 1800",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_audit_unsealed_seconds{{{API}}}": constant(7200)}, minutes=15),
        **measured("s4_audit_unsealed_seconds", above=1800, held=5 * MINUTE),
    ),
    Alert(
        name="S4AuditOverflows",
        area="security",
        summary="The audit trail has a gap",
        description="{{ $value | humanize }} calls found no room in it, because the catalog was away too long.",
        severity=Severity.TICKET,
        expression="sum(increase(s4_audit_overflow_total[1h])) > 0.5",
        cause=Cause(series={f"s4_audit_overflow_total{{{API}}}": f"0x5 {constant(40)}"}, minutes=20),
        **counted("s4_audit_overflow_total", more_than=0, within=HOUR),
    ),
)

_TENANT = {"tenant_id": "ten_one"}

_TENANTS = (
    Alert(
        name="S4TenantFails",
        area="tenants",
        summary="Requests of {{ $labels.tenant_id }} fail",
        description="{{ $value | humanizePercentage }} of one tenant's requests are answered 5xx.",
        severity=Severity.TICKET,
        expression="sum by (tenant_id) (increase(s4_tenant_failures_total[30m])) "
        "/ (sum by (tenant_id) (increase(s4_tenant_requests_total[30m])) > 20) > 0.1",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_tenant_failures_total{{tenant_id="ten_one",{EXPORTER}}}': steady(5)},
            minutes=45,
            labels=_TENANT,
        ),
    ),
    Alert(
        name="S4TenantNoisy",
        area="tenants",
        summary="{{ $labels.tenant_id }} asks for most of it all",
        description="{{ $value | humanizePercentage }} of all tenants' requests are this one's.",
        severity=Severity.TICKET,
        # Where nobody else asks for anything, nobody is disturbed.
        expression="sum by (tenant_id) (increase(s4_tenant_requests_total[30m])) "
        "/ scalar(sum(increase(s4_tenant_requests_total[30m])) > 10000) > 0.8 "
        "and on () count(sum by (tenant_id) (increase(s4_tenant_requests_total[30m])) > 0) > 1",
        held=30 * MINUTE,
        cause=Cause(
            series={f's4_tenant_requests_total{{tenant_id="ten_one",{EXPORTER}}}': steady(6000)},
            minutes=70,
            labels=_TENANT,
        ),
    ),
    Alert(
        name="S4TenantFull",
        area="tenants",
        summary="{{ $labels.tenant_id }} is at the bounds of its plan",
        description="It has used {{ $value | humanizePercentage }}; at 100 % it is refused.",
        severity=Severity.TICKET,
        expression='max by (tenant_id) (s4_top_tenant_utilisation_ratio{tenant_id!="other"}) > 0.95',
        held=HOUR,
        cause=Cause(
            series={f's4_top_tenant_utilisation_ratio{{tenant_id="ten_one",{API}}}': constant(0.99)},
            minutes=70,
            labels=_TENANT,
        ),
    ),
)

ALERTS = (*_SECURITY, *_TENANTS)
