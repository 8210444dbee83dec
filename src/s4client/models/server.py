"""The server itself."""

from typing import Any

from pydantic import Field

from s4client.models.base import Model


class Health(Model):
    """Whether the server would take a request now, and the state of what it depends on."""

    ready: bool
    status: str
    dependencies: dict[str, Any] = Field(default_factory=dict)
