"""Which rules a bucket must have.

They do two things, and never a third. They end uploads in parts that nobody completed. They end *noncurrent* versions,
which are what S4 deleted, in a bucket that has versions: after as many days as the tenant's plan says. No rule touches
an object that is current, and none moves one into another class: what is archived S4 moves itself, and index files,
heads and texts must answer at once.

S3 lets the earlier of two rules win. So what holds for most stands in one rule for all tenants, with the longest time,
and a tenant with a shorter one has a rule of its own. A tenant under a legal hold must be reached by none: then the
rule for all is parted by the first character of tenants' ids, of which there are 32, and the held tenant's part is left
out. Who shares that character has a rule of its own, or keeps old versions longer.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from s4.kernel import keys
from s4.kernel.ids import TenantId
from s4.kernel.keys import ObjectPrefix

RULES_MAX = 1000
"""S3's bound for one bucket; rules that are not S4's count, too."""
_FIRST_CHARACTERS = "abcdefghijklmnopqrstuvwxyz234567"  # of base32, as ids are
_ID_TAG = "ten_"


@dataclass(frozen=True, slots=True)
class Tenure:
    """Of one tenant: how many days old versions are kept, None as most; and whether it, or a document of it, is under a
    legal hold."""

    tenant_id: TenantId
    old_versions_days: int | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """`prefix` is the bucket's, whole. One of the two is set, or both."""

    name: str
    prefix: str
    abort_uploads_days: int | None = None
    old_versions_days: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rules, and how many tenants keep old versions longer than their plan says, for want of room."""

    rules: tuple[Rule, ...]
    without_room: int = 0


def tag(prefix: str) -> str:
    """How the names of S4's rules begin. Deployments that share a bucket have prefixes of their own."""
    return f"s4-{hashlib.sha256(prefix.encode()).hexdigest()[:8]}-"


def lifecycle_rules(
    prefix: str,
    tenures: Iterable[Tenure],
    *,
    old_versions_days: int,
    upload_max: timedelta,
    rules_max: int = RULES_MAX,
) -> Wanted:
    """`prefix`: of the deployment in its bucket, empty or ending with a slash. `upload_max`: no upload lasts longer."""
    known = list(tenures)
    base_days = max([old_versions_days, *(each.old_versions_days or 0 for each in known)])
    begins = tag(prefix)
    uploads_days = math.ceil(upload_max / timedelta(days=1)) + 1  # S3 counts from midnight
    rules = [Rule(f"{begins}uploads", prefix, abort_uploads_days=uploads_days)]
    rules += [
        Rule(f"{begins}{area.rstrip('/')}", f"{prefix}{area}", old_versions_days=old_versions_days)
        for area in (keys.INDICES, keys.SYSTEM)
    ]
    held = {each.tenant_id for each in known if each.is_held}
    parts = _parts(held)
    rules += [Rule(f"{begins}{name}", f"{prefix}{part}", old_versions_days=base_days) for name, part in parts]
    own = [each for each in known if not each.is_held and _needs_its_own(each, parts, base_days, old_versions_days)]
    own.sort(key=lambda each: (each.old_versions_days or old_versions_days, each.tenant_id))
    room = max(0, rules_max - len(rules))
    rules += [
        Rule(
            f"{begins}{each.tenant_id}",
            f"{prefix}{keys.tenant(each.tenant_id)}",
            old_versions_days=each.old_versions_days or old_versions_days,
        )
        for each in own[:room]
    ]
    return Wanted(tuple(rules), max(0, len(own) - room))


def _parts(held: set[TenantId]) -> list[tuple[str, ObjectPrefix]]:
    """Names and prefixes of the rules for all tenants."""
    if not held:
        return [("tenants", keys.TENANTS)]
    taken = {tenant_id.removeprefix(_ID_TAG)[:1] for tenant_id in held}
    return [
        (f"tenants-{first}", ObjectPrefix(f"{keys.TENANTS}{_ID_TAG}{first}"))
        for first in _FIRST_CHARACTERS
        if first not in taken
    ]


def _needs_its_own(
    tenure: Tenure, parts: Sequence[tuple[str, ObjectPrefix]], base_days: int, default_days: int
) -> bool:
    is_covered = any(keys.tenant(tenure.tenant_id).startswith(part) for _, part in parts)
    return not is_covered or (tenure.old_versions_days or default_days) < base_days


def reaches(rule: Rule, prefix: str, tenure: Tenure) -> bool:
    """Whether the rule ends old versions of the tenant."""
    return rule.old_versions_days is not None and f"{prefix}{keys.tenant(tenure.tenant_id)}".startswith(rule.prefix)
