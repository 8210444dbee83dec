"""Build hooks: sources and version are those of the repository, and in a source distribution its own copy of them."""

import email
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class RepositorysVersion(MetadataHookInterface):
    """The client bears the server's version: they are released together."""

    def update(self, metadata: dict[str, Any]) -> None:
        unpacked = Path(self.root, "PKG-INFO")  # of a source distribution
        if unpacked.exists():
            metadata["version"] = email.message_from_string(unpacked.read_text(encoding="utf-8"))["Version"]
            return
        found = _VERSION.search(Path(self.root, "../../src/s4/__init__.py").read_text(encoding="utf-8"))
        assert found is not None, "src/s4/__init__.py says no version"
        metadata["version"] = found[1]


class RepositorysSources(BuildHookInterface):
    """Takes `src/s4client` from where it stands."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        in_place = Path(self.root, "src/s4client")
        sources = in_place if in_place.exists() else Path(self.root, "../../src/s4client").resolve()
        if version == "editable":
            raise NotImplementedError("Install the repository itself: it contains the client.")
        build_data["force_include"][str(sources)] = "src/s4client" if self.target_name == "sdist" else "s4client"
