"""Writes the files for Prometheus, Alertmanager, Grafana and both clouds anew: `make monitoring`.

`tests/unit/test_monitoring.py` holds the committed files equal to what this writes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from deploy.monitoring import clouds, rules, scrape, table, unit_tests
from deploy.monitoring.dashboards import BOARDS, rendered

HERE = Path(__file__).parent
_NOTE = "# Written by deploy/monitoring/generate.py. Change the code there, then run `make monitoring`.\n"


_TOKEN = "put-the-value-of-S4_METRICS_TOKEN-here-or-mount-it-over-this-file"
"""Prometheus does not start without the file. S4 takes whatever it says where it has no token."""


class _Dumper(yaml.SafeDumper):
    """Long lines stay one line: expressions are searched for. Nothing is written as a reference to something above."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _yaml(content: Any) -> str:
    return _NOTE + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


_PROVISIONING = {
    "datasources": {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "Prometheus",
                "type": "prometheus",
                "uid": "prometheus",
                "access": "proxy",
                "url": "http://prometheus:9090",
                "isDefault": True,
                # Rates over a window that holds some scrapes: Grafana takes four times this.
                "jsonData": {"timeInterval": scrape.INTERVAL, "httpMethod": "POST"},
            }
        ],
    },
    "dashboards": {
        "apiVersion": 1,
        "providers": [
            {
                "name": "s4",
                "folder": "S4",
                "type": "file",
                "options": {"path": "/var/lib/grafana/dashboards"},
            }
        ],
    },
}


def written(runbooks: str = rules.RUNBOOKS) -> dict[str, str]:
    """Every file by its path below this folder."""
    files = {
        table.PATH: table.page(),
        table.INDEX_PATH: table.index(),
        "prometheus/metrics-token": _TOKEN,
        "prometheus/prometheus.yml": _yaml(scrape.prometheus()),
        "prometheus/rules.yml": _yaml(rules.recording_rules()),
        "prometheus/alerts.yml": _yaml(rules.alert_rules(runbooks)),
        "alertmanager/alertmanager.yml": _yaml(scrape.alertmanager()),
    }
    files |= {f"grafana/dashboards/{board.uid}.json": _json(rendered(board)) for board in BOARDS}
    files |= {f"grafana/provisioning/{name}/s4.yml": _yaml(content) for name, content in _PROVISIONING.items()}
    files |= {f"prometheus/tests/{name}.yml": _yaml(test) for name, test in unit_tests.files().items()}
    return files | clouds.written(runbooks, note=_NOTE, dumper=_Dumper)


def owned() -> list[Path]:
    """The files that were written before."""
    patterns = (
        table.PATH,
        table.INDEX_PATH,
        "prometheus/metrics-token",
        "prometheus/*.yml",
        "prometheus/tests/*.yml",
        "alertmanager/*.yml",
        "grafana/**/*.json",
        "grafana/**/*.yml",
        *clouds.OWNED,
    )
    return sorted(path for pattern in patterns for path in HERE.glob(pattern))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runbooks", default=rules.RUNBOOKS, help="where docs/runbooks is served; default: %(default)s"
    )
    files = written(parser.parse_args().runbooks.rstrip("/"))
    for path in owned():
        if str(path.relative_to(HERE)) not in files:
            path.unlink()
    for name, text in files.items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
