"""The files for Amazon's and Google's clouds as text."""

import json
from typing import Any

import yaml

from deploy.monitoring import cloudwatch, google

OWNED = (
    "../aws/agent/*",
    "../aws/metrics.yaml",
    "../aws/monitoring.yaml",
    "../google/monitoring/**/*.json",
    "../google/monitoring/*.yaml",
)
"""Where files lie that nobody else writes, from this folder."""


def written(runbooks: str, *, note: str, dumper: type[yaml.SafeDumper]) -> dict[str, str]:
    """Every file by its path from this folder. `note`: the first line of those that can have a comment."""

    class Short(dumper):  # type: ignore[valid-type, misc]  # a class that is given
        """References in templates of CloudFormation in their short form."""

    Short.add_representer(dict, _mapping)

    def text(path: str, content: Any) -> str:
        if path.endswith(".json"):
            return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        # Leaves on one line: there is a bound for a template's size.
        shape: dict[str, Any] = {"sort_keys": False, "width": 10_000, "allow_unicode": True, "default_flow_style": None}
        said: str = yaml.dump(content, Dumper=Short, **shape)
        return note + said

    files = cloudwatch.files(runbooks) | google.files(runbooks)
    return {f"../{path}": text(path, content) for path, content in files.items()}


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.Node:
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name in ("Ref", "Fn::Sub") and isinstance(argument, str):
            return dumper.represent_scalar(f"!{name.removeprefix('Fn::')}", argument)
    return dumper.represent_dict(value.items())
