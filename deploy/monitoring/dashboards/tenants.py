"""All tenants in sums, the busiest by name, and one by choice. The row of one asks the tenant exporter, which is
scraped once a minute: its rates are of five.
"""

from deploy.monitoring.dashboards.model import Board, Choice, Row, figure, graph, listing, or_zero

_ONE = 'tenant_id=~"$tenant"'

_ALL = Row(
    "All tenants",
    (
        graph("By status", "`suspended` jumps: `s4 tenant list`.", {"{{status}}": "max by (status) (s4_tenants)"}),
        graph("Seen", "In a day and in thirty.", {"{{within}}": "max by (within) (s4_tenants_seen)"}),
        graph(
            "Told of their service level",
            "In a day. `s4 sla show` says whose, `s4 sla report` why.",
            {"{{state}}": or_zero("sum by (state) (increase(s4_sla_told_total[1d]))")},
        ),
        listing(
            "Most calls this month",
            "And all the rest as `other`.",
            "max by (tenant_id) (s4_top_tenant_calls)",
            span=8,
        ),
        listing(
            "Most stored",
            "And all the rest as `other`.",
            "max by (tenant_id) (s4_top_tenant_stored_bytes)",
            unit="bytes",
            span=8,
        ),
        listing(
            "Nearest to their bounds",
            "At 1 a tenant is refused: offer it a larger plan.",
            "max by (tenant_id) (s4_top_tenant_utilisation_ratio)",
            unit="percentunit",
            span=8,
        ),
    ),
)
_TENANT = Row(
    "One tenant",
    (
        listing(
            "Who it is",
            "Name, plan, status.",
            f"max by (tenant_id, name, plan_id, status) (s4_tenant_info{{{_ONE}}})",
            span=12,
        ),
        figure(
            "Plan used",
            "The greater of storage and the month's calls.",
            f"max(s4_tenant_utilisation_ratio{{{_ONE}}})",
            unit="percentunit",
        ),
        figure("Documents", "Live ones.", f"max(s4_tenant_documents{{{_ONE}}})"),
        figure(
            "Last asked",
            "How long ago.",
            f"time() - max(s4_tenant_last_activity_timestamp_seconds{{{_ONE}}})",
            unit="s",
        ),
        graph(
            "Calls",
            "A minute. Rising beside others' latency: give its plan a rate.",
            {"calls": f"60 * sum(rate(s4_tenant_calls_total{{{_ONE}}}[5m]))"},
        ),
        graph(
            "Calls this month",
            "Of what its plan allows: `s4 usage tenant`.",
            {"calls": f"max(s4_tenant_calls_total{{{_ONE}}})", "requests": f"max(s4_tenant_requests_total{{{_ONE}}})"},
        ),
        graph(
            "Failed requests",
            "Share of 5xx. For one tenant only: look for its id in the log.",
            {
                "failed": or_zero(
                    f"sum(rate(s4_tenant_failures_total{{{_ONE}}}[5m])) "
                    f"/ (sum(rate(s4_tenant_requests_total{{{_ONE}}}[5m])) > 0)"
                )
            },
            unit="percentunit",
        ),
        graph(
            "Stored",
            "Near its plan's bound: offer a larger one.",
            {"bytes": f"max(s4_tenant_stored_bytes{{{_ONE}}})"},
            unit="bytes",
        ),
        graph(
            "Documents over time",
            "Falling at once: `s4 audit list`.",
            {"documents": f"max(s4_tenant_documents{{{_ONE}}})"},
        ),
        graph(
            "Age of these figures",
            "At most S4_EXPORTER_SECONDS, while the catalog answers.",
            {"exporter": "time() - max(s4_exporter_read_timestamp_seconds)"},
            unit="s",
        ),
    ),
)

BOARD = Board(
    "s4-tenants",
    "S4: tenants",
    "All tenants in sums, the busiest by name, and any one by choice.",
    (_ALL, _TENANT),
    (
        Choice(
            "tenant",
            "Tenant",
            "query_result(s4_tenant_info)",
            regex='/name="(?<text>[^"]*)".*tenant_id="(?<value>[^"]+)"/',
        ),
    ),
)
