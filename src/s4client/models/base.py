"""What every answer is."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Tolerant of additions, immutable."""

    model_config = ConfigDict(extra="allow", frozen=True)
