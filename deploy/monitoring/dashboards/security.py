"""Who tries what, and whether the trail of it can be trusted."""

from deploy.monitoring.dashboards.model import RATE, Board, Row, figure, graph, listing, or_zero, rate

_LOGINS = Row(
    "Credentials",
    (
        figure(
            "Refused now",
            "Credentials a second that were refused.",
            rate("s4_auth_failures_total"),
            unit="reqps",
        ),
        figure(
            "Guessed in an hour",
            "No key of S4 fits them.",
            or_zero('sum(increase(s4_auth_failures_total{reason=~"unknown|malformed"}[1h]))'),
        ),
        figure("Slowed in an hour", "Answered 429 for too many guesses.", "sum(increase(s4_auth_throttled_total[1h]))"),
        figure(
            "New addresses of administrators",
            "In a day. The audit trail's `access.new_address` names both.",
            "sum(increase(s4_admin_new_addresses_total[1d]))",
        ),
        figure(
            "Certificate",
            "Until it expires; 0 where a proxy speaks TLS.",
            or_zero("min(s4_tls_certificate_expiry_timestamp_seconds > 0) - time()"),
            unit="s",
        ),
        graph(
            "Refused credentials by reason",
            "`unknown`, `malformed`: guesses; the log's `access.refused` has the addresses. `expired`, `revoked`: a "
            "tenant goes on with an old key.",
            {"{{reason}}": rate("s4_auth_failures_total", "reason")},
            unit="reqps",
            span=12,
        ),
        graph(
            "401, 403, 429",
            "All routes.",
            {"{{code}}": or_zero(f'sum by (code) (rate(s4_http_requests_total{{code=~"401|403|429"}}[{RATE}]))')},
            unit="reqps",
            span=12,
        ),
    ),
)
_ADMIN = Row(
    "Administrators and the audit trail",
    (
        graph(
            "Calls of administrators",
            "Each is in the audit trail: `s4 audit list`.",
            {
                "{{method}} {{code}}": or_zero(
                    f'sum by (method, code) (rate(s4_http_requests_total{{route=~"/api/v1/admin.*"}}[{RATE}]))'
                )
            },
            unit="reqps",
            span=12,
        ),
        listing(
            "Their routes, in a day",
            "What was asked for.",
            or_zero(
                "topk(25, sum by (method, route, code) "
                '(increase(s4_http_requests_total{route=~"/api/v1/admin.*"}[1d])))'
            ),
        ),
        figure(
            "Audit trail sound", "0: somebody changed it; `s4 audit verify`.", 'min(s4_audit_chain_ok{process="api"})'
        ),
        figure(
            "Oldest open entry",
            "Until it is sealed it could be changed unseen.",
            "max(s4_audit_unsealed_seconds)",
            unit="s",
        ),
        figure(
            "Calls without room",
            "In a day. Above 0: the trail has a gap.",
            "sum(increase(s4_audit_overflow_total[1d]))",
        ),
        graph(
            "Failed requests of tenants' own",
            "Answered 404: somebody looks for what is not his.",
            {"404": or_zero(f'sum(rate(s4_http_requests_total{{code="404"}}[{RATE}]))')},
            unit="reqps",
            span=12,
        ),
    ),
)

BOARD = Board(
    "s4-security",
    "S4: security",
    "Who tries what, what administrators do, and whether the trail of it can be trusted.",
    (_LOGINS, _ADMIN),
)
