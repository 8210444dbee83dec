"""Parses files into the types of Google's client libraries: run by the interpreter of requirements/clouds.lock.

`policy`, `channel` or `dashboard`, then files. Unknown fields, unknown values and values of another type are refused.
"""

import sys
from pathlib import Path

from google.cloud.monitoring_dashboard_v1 import Dashboard  # type: ignore[import-not-found]  # an environment of its own
from google.cloud.monitoring_v3 import AlertPolicy, NotificationChannel  # type: ignore[import-not-found]  # likewise

TYPES = {"policy": AlertPolicy, "channel": NotificationChannel, "dashboard": Dashboard}

for name in sys.argv[2:]:
    TYPES[sys.argv[1]].from_json(Path(name).read_text(), ignore_unknown_fields=False)
    print(name)
