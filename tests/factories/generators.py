"""Programs of docs/, which belong to no package, as modules."""

import importlib.util
from types import ModuleType

from tests.factories.pages import REPOSITORY


def program(path: str) -> ModuleType:
    """That of `docs/{path}`."""
    file = REPOSITORY / "docs" / path
    spec = importlib.util.spec_from_file_location(f"docs_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
