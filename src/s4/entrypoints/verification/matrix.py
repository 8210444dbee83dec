"""The routes of a running deployment, as its OpenAPI document says, and how each is called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s4.entrypoints.verification.declared import DECLARED, NEVER, Call
from s4.kernel.permissions import ADMIN_PERMISSIONS, TENANT_SCOPES, Permission

PERMISSION = "x-s4-permission"
VERSIONED = "/api/v1"
ALIAS = "/api"

_PARAMETER = re.compile(r"\{(\w+)\}")
_MEANT_FOR_ASKER = "word"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `call` is None for a route that this release's table does not have."""

    method: str
    path: str
    permission: str | None
    call: Call | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the ids that a request of it holds, in path, query or body."""
        said = [self.path, str(self.call.json), str(dict(self.call.params))] if self.call is not None else [self.path]
        found = dict.fromkeys(name for text in said for name in _PARAMETER.findall(text))
        return tuple(name for name in found if name != _MEANT_FOR_ASKER)

    @property
    def is_public(self) -> bool:
        return self.permission == Permission.PUBLIC

    @property
    def is_admins(self) -> bool:
        return self.permission in ADMIN_PERMISSIONS

    @property
    def is_tenants(self) -> bool:
        return self.permission in TENANT_SCOPES


@dataclass(frozen=True, slots=True)
class Matrix:
    """All routes, in the document's order. `known` are those that can be called."""

    routes: tuple[Route, ...]

    @property
    def known(self) -> tuple[Route, ...]:
        return tuple(route for route in self.routes if not reasons_unknown(route))

    @property
    def of_tenants(self) -> tuple[Route, ...]:
        return tuple(route for route in self.known if route.is_tenants)

    @property
    def of_admins(self) -> tuple[Route, ...]:
        return tuple(route for route in self.known if route.is_admins)

    def get(self, name: str) -> Route | None:
        return next((route for route in self.known if route.name == name), None)


def read(document: Mapping[str, Any]) -> Matrix:
    """From an OpenAPI document."""
    routes = []
    for path, operations in document["paths"].items():
        plain = re.sub(r":path}", "}", path)
        for method, operation in operations.items():
            name = f"{method.upper()} {plain}"
            routes.append(Route(method.upper(), plain, operation.get(PERMISSION), DECLARED.get(name)))
    return Matrix(tuple(routes))


def reasons_unknown(route: Route) -> list[str]:
    """Why this release's verifier cannot call a route; nothing when it can."""
    if route.call is None:
        return ["this release's verifier does not know the route"]
    strange = [name for name in route.parameters if name not in NEVER]
    return [f"this release's verifier does not know the parameter {{{name}}}" for name in strange]


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """`value` with every `{name}` in it replaced."""
    match value:
        case str():
            return _PARAMETER.sub(lambda found: words.get(found[1], found[0]), value)
        case dict():
            return {name: filled(each, words) for name, each in value.items()}
        case list():
            return [filled(each, words) for each in value]
        case _:
            return value
