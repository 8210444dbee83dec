"""Changes a JSON file in place, for apply.sh: `audit FILE CONFIGS` adds audit configurations to a project's policy and
leaves those of other services, and other types of logs, as they are; `etag FILE ETAG` says which version is replaced.
"""

import json
import sys
from pathlib import Path
from typing import Any


def with_audit(policy: dict[str, Any], added: list[dict[str, Any]]) -> dict[str, Any]:
    """`policy` with the log types of `added` enabled, exempted members untouched."""
    configs = {each["service"]: each for each in policy.get("auditConfigs", [])}
    for each in added:
        own = configs.setdefault(each["service"], {"service": each["service"], "auditLogConfigs": []})
        logged = {log["logType"] for log in own["auditLogConfigs"]}
        own["auditLogConfigs"] += [log for log in each["auditLogConfigs"] if log["logType"] not in logged]
    return {**policy, "auditConfigs": list(configs.values())}


def main() -> None:
    what, path, other = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    content = json.loads(path.read_text())
    if what == "audit":
        content = with_audit(content, json.loads(Path(other).read_text())["auditConfigs"])
    else:
        content["etag"] = other
    path.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
