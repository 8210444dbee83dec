"""The bill of materials: `make sbom`. CycloneDX 1.6 of what `runtime.lock` pins, held against its schema.

cyclonedx-py writes the components; what it cannot read from `pyproject.toml`, the version of S4 and that S4 depends on
all of them, is added here. Nothing of the moment is in it, so that the same lock gives the same file.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

_REPOSITORY = Path(__file__).parents[1]
_COMMAND = Path(sys.executable).with_name("cyclonedx-py")


def main() -> int:
    """Writes to the path that is given; 1 when it is not what the schema says."""
    target = Path(sys.argv[1])
    bill = complete(_components(), version=_version())
    written = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written):
        print(f"The bill of materials is against the schema: {wrong}", file=sys.stderr)
        return 1
    target.write_text(written, encoding="utf-8")
    print(f"{target}: {len(bill['components'])} components, as the schema of CycloneDX 1.6 says")
    return 0


def complete(bill: dict[str, Any], *, version: str) -> dict[str, Any]:
    """The same with S4's version, and with S4 at the root of what it needs."""
    root = bill["metadata"]["component"]
    root |= {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    needed = sorted(each["bom-ref"] for each in bill["components"])
    others = [each for each in bill["dependencies"] if each["ref"] != root["bom-ref"]]
    return bill | {"dependencies": [*others, {"ref": root["bom-ref"], "dependsOn": needed}]}


def _components() -> dict[str, Any]:
    asked = [str(_COMMAND), "requirements", "requirements/runtime.lock", "--pyproject", "pyproject.toml"]
    asked += ["--output-reproducible", "--output-format", "JSON", "--spec-version", "1.6"]
    done = subprocess.run(asked, cwd=_REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)  # noqa: S603 (its own arguments)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _version() -> str:
    said = re.search(r'^__version__ = "(.+)"$', (_REPOSITORY / "src/s4/__init__.py").read_text(), re.MULTILINE)
    assert said is not None, "S4 has a version"
    return said[1]


if __name__ == "__main__":
    sys.exit(main())
