"""Build hook: the wheel's dependencies are the lines of `runtime.in`, so that they stand in one place."""

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RuntimeDependencies(MetadataHookInterface):
    """Fills `dependencies` from `requirements/runtime.in`."""

    def update(self, metadata: dict[str, Any]) -> None:
        lines = Path(self.root, "requirements", "runtime.in").read_text(encoding="utf-8").splitlines()
        metadata["dependencies"] = [line for line in lines if line and not line.startswith("#")]
