"""What apply.sh does with JSON files.

`fill FOLDER` copies those that lie beside this into another folder, with `${name}` filled in from the environment's
NAME. `audit FILE CONFIGS` adds audit configurations to a project's policy, and leaves those of other services, and
other types of logs, as they are. `etag FILE ETAG` says which version of a dashboard is replaced.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def fill(target: Path) -> None:
    for path in HERE.rglob("*.json"):
        copy = target / path.relative_to(HERE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r"\$\{(\w+)\}", lambda found: _text(os.environ[found[1].upper()]), path.read_text())
        copy.write_text(text)


def _text(value: str) -> str:
    """As it stands within a string of JSON."""
    return json.dumps(value)[1:-1]


def with_audit(policy: dict[str, Any], added: list[dict[str, Any]]) -> dict[str, Any]:
    """`policy` with the log types of `added` enabled, exempted members untouched."""
    configs = {each["service"]: each for each in policy.get("auditConfigs", [])}
    for each in added:
        own = configs.setdefault(each["service"], {"service": each["service"]})
        logs = own.setdefault("auditLogConfigs", [])
        logged = {log["logType"] for log in logs}
        logs += [log for log in each["auditLogConfigs"] if log["logType"] not in logged]
    return {**policy, "auditConfigs": list(configs.values())}


def main() -> None:
    what, path, *others = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    if what == "fill":
        fill(path)
        return
    content = json.loads(path.read_text())
    if what == "audit":
        content = with_audit(content, json.loads(Path(others[0]).read_text())["auditConfigs"])
    else:
        content["etag"] = others[0]
    path.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
