"""How fast somebody may ask: a token bucket each, in this process, or shared by all replicas through Redis.

A bucket of `burst` tokens refills at `per_second`; a request takes one, or is told when the next will be there; one
that does the work of several takes as many, all or none. So in any `t` seconds at most `burst + per_second * t`
requests pass, and exactly as many where that many come.
"""

from s4.platform.rates.bucket import Decision, Rate
from s4.platform.rates.local import LocalBuckets
from s4.platform.rates.shared import SharedBuckets, open_shared, version_of

__all__ = ["Decision", "LocalBuckets", "Rate", "SharedBuckets", "open_shared", "version_of"]
