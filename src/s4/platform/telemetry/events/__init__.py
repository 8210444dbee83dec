"""The catalogue of the log's events: the one place where an event is named.

`docs/reference/events.md` is generated from here. `tests/unit/test_events.py` walks the syntax tree of the source and
fails on a log call that is not in here, by name, level and fields, and on an event that nothing writes.
"""

from s4.platform.telemetry.events.fields import CONTEXT, FIELDS
from s4.platform.telemetry.events.keeping import KEEPING
from s4.platform.telemetry.events.model import Event, Field, by_name
from s4.platform.telemetry.events.serving import SERVING

EVENTS = by_name(SERVING, KEEPING)

__all__ = ["CONTEXT", "EVENTS", "FIELDS", "Event", "Field"]
