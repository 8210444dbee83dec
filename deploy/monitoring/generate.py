"""Writes the files for Prometheus, Alertmanager, Grafana and both clouds anew: `make monitoring`.

`tests/unit/test_monitoring.py` holds the committed files equal to what this writes.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from deploy.monitoring import cloudwatch, google, rules, scrape, unit_tests

HERE = Path(__file__).parent
_NOTE = "# Written by deploy/monitoring/generate.py. Change the code there, then run `make monitoring`.\n"


class _Dumper(yaml.SafeDumper):
    """Long lines stay one line: expressions are searched for. Nothing is written as a reference to something above."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _short(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.Node:
    """References in templates of CloudFormation in its short form; everything else as it is."""
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name in ("Ref", "Fn::Sub") and isinstance(argument, str):
            return dumper.represent_scalar(f"!{name.removeprefix('Fn::')}", argument)
    return dumper.represent_dict(value.items())


_Dumper.add_representer(dict, _short)


def _yaml(content: Any) -> str:
    return _NOTE + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _cloud(path: str, content: Any) -> str:
    """Templates with their leaves on one line: there is a bound for their size."""
    if path.endswith(".json"):
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    flat = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True, default_flow_style=None
    )
    return _NOTE + flat


def written(runbooks: str = rules.RUNBOOKS) -> dict[str, str]:
    """Every file by its path below this folder."""
    files = {
        "prometheus/prometheus.yml": _yaml(scrape.prometheus()),
        "prometheus/rules.yml": _yaml(rules.recording_rules()),
        "prometheus/alerts.yml": _yaml(rules.alert_rules(runbooks)),
        "alertmanager/alertmanager.yml": _yaml(scrape.alertmanager()),
    }
    files |= {f"prometheus/tests/{name}.yml": _yaml(test) for name, test in unit_tests.files().items()}
    clouds = cloudwatch.files(runbooks) | google.files(runbooks)
    files |= {f"../{path}": _cloud(path, content) for path, content in clouds.items()}
    return files


def owned() -> list[Path]:
    """The files that were written before."""
    patterns = (
        "prometheus/*.yml",
        "prometheus/tests/*.yml",
        "alertmanager/*.yml",
        "grafana/**/*.json",
        "grafana/**/*.yml",
        "../aws/agent/*",
        "../google/monitoring/**/*.json",
    )
    return sorted(path for pattern in patterns for path in HERE.glob(pattern))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runbooks", default=rules.RUNBOOKS, help="where docs/runbooks is served; default: %(default)s"
    )
    files = written(parser.parse_args().runbooks.rstrip("/"))
    for path in owned():
        if os.path.relpath(path, HERE) not in files:
            path.unlink()
    for name, text in files.items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
