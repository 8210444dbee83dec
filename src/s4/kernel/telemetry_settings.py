"""The part of the settings that is about what S4 tells of itself (`platform/telemetry`)."""

from pydantic import BaseModel, Field, SecretStr, field_validator

from s4.kernel.setting_values import Size, names_a_collector
from s4.kernel.units import MIB


class TelemetrySettings(BaseModel):
    """A part of `Settings`."""

    # -- metrics
    metrics_token: SecretStr | None = Field(
        None,
        description="When set, `GET /metrics` of every process demands `Authorization: Bearer <token>`, and names the "
        "tenants that stand out. Without it whoever reaches the port reads the metrics, and they name nobody.",
    )
    metrics_tenants_top: int = Field(
        20,
        ge=0,
        le=100,
        description="So many tenants are named by each `s4_top_tenant_*` metric, the rest is one series: a process's "
        "metrics stay as many however many tenants there are. All of them: `s4 exporter`.",
    )
    metrics_catalog_seconds: float = Field(
        60.0,
        gt=0,
        description="What an API process tells of tenants and index tables is read from the catalog at most so often, "
        "when it is scraped; that of index tables ten times less.",
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of `S4_HOST` on which a worker of its own answers health and metrics; 0 takes a free one. "
        "Unset: 9464, or a free one while another process has that; the log's `worker.listening` says which.",
    )
    exporter_port: int = Field(
        9465, ge=0, le=65535, description="Port of `S4_HOST` on which `s4 exporter` answers; 0 takes a free one."
    )
    exporter_seconds: float = Field(
        60.0,
        gt=0,
        description="How old at most the figures of `s4 exporter` are. Reading those of ten thousand tenants takes the "
        "catalog some tenths of a second.",
    )

    # -- traces
    traces_endpoint: str | None = Field(
        None,
        description="Where traces of requests and jobs are sent, by OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`, "
        "a collector of OpenTelemetry's. Needs the extra `s4-store[otel]`. Unset: none are made.",
    )
    traces_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Of the requests and jobs that continue nobody's trace, how many are traced. A caller's own "
        "`traceparent` says for itself whether it is. More: more to store, and about 0.1 ms of a processor for each "
        "span, of which a search has eight and an upload with its job some forty.",
    )

    # -- readiness
    disk_floor_bytes: Size = Field(
        64 * MIB,
        description="Readiness of an API process answers 503 while a disk that it serves from has less free: that of "
        "the data directory, of temporary files, of a store in a directory. Whoever comes is served still. More: it is "
        "left out earlier, and what is under way has room to end. 0: never, so that searches go on where nobody else "
        "answers.",
    )

    # -- service levels
    slo_availability: float = Field(
        0.999,
        gt=0,
        lt=1,
        description="Share of tenants' requests that S4 promises not to fail, over all tenants: what alerts on burnt "
        "budgets go by. What single tenants are promised stands in their plans.",
    )
    slo_latency: float = Field(
        0.95, gt=0, lt=1, description="Share of searches that are promised to be answered within `slo_search_seconds`."
    )
    slo_search_seconds: float = Field(1.0, gt=0, description="How long a search may take to be a good one.")

    _traces_endpoint = field_validator("traces_endpoint")(names_a_collector)
