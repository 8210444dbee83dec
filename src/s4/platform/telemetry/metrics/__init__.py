"""The catalogue of metrics: the one place where a metric is named.

Labels are bounded sets (route templates, operations, stages, outcomes), never keys or paths, and tenants only where
`tenants.py` says so. Each help line says what to do when the figure moves; `docs/reference/metrics.md` is generated
from here.
"""

from s4.platform.telemetry.metrics.buckets import *  # noqa: F403 (the catalogue is one namespace)
from s4.platform.telemetry.metrics.care import *  # noqa: F403
from s4.platform.telemetry.metrics.dependencies import *  # noqa: F403
from s4.platform.telemetry.metrics.pipeline import *  # noqa: F403
from s4.platform.telemetry.metrics.process import *  # noqa: F403
from s4.platform.telemetry.metrics.requests import *  # noqa: F403
from s4.platform.telemetry.metrics.searching import *  # noqa: F403
from s4.platform.telemetry.metrics.tenants import *  # noqa: F403
