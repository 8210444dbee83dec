"""The part of the settings that says what the log looks like (`platform/telemetry/logs.py`)."""

from enum import StrEnum

from pydantic import BaseModel, Field, field_validator

from s4.kernel.setting_values import known_level


class LogFormat(StrEnum):
    """`json`: S4's own. `google`, `ecs`, `datadog`: the same lines with the names that Google Cloud Logging, Elastic
    and Datadog know. `console`: for people."""

    JSON = "json"
    GOOGLE = "google"
    ECS = "ecs"
    DATADOG = "datadog"
    CONSOLE = "console"


class LogSettings(BaseModel):
    """A part of `Settings`."""

    # -- logs
    log_format: LogFormat = LogFormat.JSON
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_requests_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Of the requests that are answered well (below 400) and soon: how many have a line in the log. "
        "Less: a smaller log, in which a single quick request may not be found. Metrics count all.",
    )
    log_slow_seconds: float = Field(
        1.0, gt=0, description="A request that takes so long has its line whatever `log_requests_share` says."
    )
    log_google_project: str = Field(
        "", description="Id of the project whose traces a line of the format `google` names; without it the id alone."
    )

    _log_level = field_validator("log_level")(known_level)
