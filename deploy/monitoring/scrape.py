"""Prometheus' own configuration: whom it scrapes, what it computes, whom it tells.

Processes are found in two ways at once, and where one does not apply it finds nothing and does no harm. By name: every
address that `s4-api`, `s4-worker` and `s4-exporter` have in the DNS is a process (Docker's networks, headless services
of Kubernetes, Cloud Map of ECS). By file: `targets/{job}*.yml`, which Prometheus reads again when they change
(machines, systemd).
"""

from dataclasses import dataclass
from typing import Any

INTERVAL = "15s"
DNS_REFRESH = "15s"


@dataclass(frozen=True, slots=True)
class Job:
    """Processes of one kind. Its name is what their addresses are called in the DNS."""

    name: str
    port: int
    process: str
    """The label `process`, where a sample does not say it itself."""
    interval: str = INTERVAL


JOBS = (Job("s4-api", 8000, "api"), Job("s4-worker", 9464, "worker"), Job("s4-exporter", 9465, "exporter", "60s"))


def prometheus() -> dict[str, Any]:
    """`prometheus.yml`."""
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["rules.yml", "alerts.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]},
        "scrape_configs": [_scrape(job) for job in JOBS],
    }


def _scrape(job: Job) -> dict[str, Any]:
    return {
        "job_name": job.name,
        "scrape_interval": job.interval,
        "authorization": {"credentials_file": "metrics-token"},
        "dns_sd_configs": [{"names": [job.name], "type": "A", "port": job.port, "refresh_interval": DNS_REFRESH}],
        "file_sd_configs": [{"files": [f"targets/{job.name}*.yml"]}],
        # The API says it of itself and of its child; what is given here, a sample's own label overrides.
        "honor_labels": True,
        "relabel_configs": [{"target_label": "process", "replacement": job.process}],
    }


def alertmanager() -> dict[str, Any]:
    """`alertmanager.yml`: an example to begin with. What pages goes out at once and again every hour, what is a ticket
    gathers and comes once a day. While S4 as a whole is down, nobody is told of its parts."""
    by_severity = [
        ("page", {"group_wait": "10s", "group_interval": "2m", "repeat_interval": "1h"}),
        ("ticket", {"group_wait": "2m", "group_interval": "15m", "repeat_interval": "24h"}),
    ]
    return {
        "route": {
            "receiver": "tickets",
            "group_by": ["area", "alertname"],
            "routes": [
                {"matchers": [f'severity="{severity}"'], "receiver": f"{severity}s", **times}
                for severity, times in by_severity
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="S4ApiAbsent"'],
                "target_matchers": ['alertname=~"S4.+"', 'alertname!="S4ApiAbsent"', 'severity="ticket"'],
            },
            {
                "source_matchers": ['alertname="S4StoreFails"'],
                "target_matchers": ['alertname=~"S4ErrorsBurnBudget.+|S4StoreSlow|S4JobsFail|S4QueueOld"'],
            },
            {
                "source_matchers": ['alertname="S4ErrorsBurnBudgetFast"'],
                "target_matchers": ['alertname="S4ErrorsBurnBudgetSlowly"'],
            },
        ],
        "receivers": [
            {"name": "pages", "webhook_configs": [{"url": "http://pager.internal:8080/page", "send_resolved": True}]},
            {"name": "tickets", "webhook_configs": [{"url": "http://pager.internal:8080/ticket"}]},
        ],
    }
