"""Background work on notices: its kind, and the request for it."""

from s4.platform.jobs import SYSTEM, JobRequest

TELL = "announcements.tell"


def tell() -> JobRequest:
    """Somebody has something new to say."""
    return JobRequest(TELL, SYSTEM, TELL, {})
