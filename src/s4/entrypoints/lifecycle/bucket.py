"""Rules in a bucket: brought there, and compared with those that there must be.

S4's rules are told by the beginning of their names; all others stay as they are. What is applied is read back.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from xml.etree.ElementTree import Element

from s4.domains.documents.queries import holds
from s4.domains.tenants import queries as tenant_queries
from s4.entrypoints.doctor.report import Check, Report, failed, ok, warning
from s4.entrypoints.lifecycle.documents import prefix_of, read_s3_rule, s3_document
from s4.entrypoints.lifecycle.rules import RULES_MAX, Rule, Tenure, Wanted, lifecycle_rules, reaches, tag
from s4.kernel import keys
from s4.kernel.errors import Conflict, S4Error
from s4.kernel.settings import Settings
from s4.platform.database import Database
from s4.platform.objects import SignedRequests

_NONE = "NoSuchLifecycleConfiguration"
_QUERY = {"lifecycle": ""}
_NAMED_MAX = 5  # rules that a sentence names


@dataclass(frozen=True, slots=True)
class Applied:
    """`kept`: rules of others, which stayed."""

    written: int
    kept: int
    without_room: int


async def tenures(database: Database) -> list[Tenure]:
    """Of all live tenants."""
    found: list[Tenure] = []
    after = ""
    async with database.read() as connection:
        held = await holds.tenants(connection)
        now = await database.now(connection)
        while rows := await tenant_queries.keeping(connection, now, after=after):
            found += [
                Tenure(row.tenant_id, row.plan_body.get("old_versions_days"), row.is_held or row.tenant_id in held)
                for row in rows
            ]
            after = rows[-1].tenant_id
    return found


def wanted_rules(settings: Settings, prefix: str, known: Sequence[Tenure], *, room: int = RULES_MAX) -> Wanted:
    """The rules for a bucket in which the deployment lies below `prefix`."""
    return lifecycle_rules(
        prefix,
        known,
        old_versions_days=settings.old_versions_days,
        upload_max=timedelta(seconds=settings.upload_seconds_max),
        rules_max=room,
    )


async def apply(settings: Settings, signed: SignedRequests, known: Sequence[Tenure]) -> Applied:
    """Brings the rules into the bucket. Raises `S4Error` when the store does not take them, `Conflict` when it takes
    them otherwise than they were given."""
    prefix = signed.path(keys.EVERYTHING)
    _, foreign = _parted(await _current(signed), prefix)
    wanted = wanted_rules(settings, prefix, known, room=RULES_MAX - len(foreign))
    body = s3_document(wanted.rules, foreign=foreign)
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()  # S3 asks for it
    answer = await signed.ask("PUT", None, query=_QUERY, body=body, headers={"Content-MD5": digest})
    if answer.denied:
        raise S4Error(
            "The identity lacks s3:PutLifecycleConfiguration, which S4 itself never needs: be one who has it."
        )
    if not answer.ok:
        raise S4Error(
            f"The store did not take the rules: {answer.status} {answer.code or ''} {answer.message or ''}".strip()
        )
    ours, kept = _parted(await _current(signed), prefix)
    if _told(ours) != {_bare(rule) for rule in wanted.rules} or len(kept) != len(foreign):
        raise Conflict("The store took the rules and answers with others. Look at them: `s4 lifecycle check`.")
    return Applied(len(wanted.rules), len(foreign), wanted.without_room)


async def check(settings: Settings, signed: SignedRequests, known: Sequence[Tenure]) -> Report:
    """Whether the bucket's rules are those that there must be, and whether somebody else's do harm."""
    prefix = signed.path(keys.EVERYTHING)
    found = await _current(signed)
    ours, foreign = _parted(found, prefix)
    wanted = wanted_rules(settings, prefix, known, room=RULES_MAX - len(foreign))
    checks = (_rules(ours, wanted), _held(found, prefix, known), _foreign(foreign, prefix))
    return Report("lifecycle of the bucket", checks)


def _rules(ours: Sequence[Element], wanted: Wanted) -> Check:
    name, advice = "rules", "`s4 lifecycle apply`, as somebody who has s3:PutLifecycleConfiguration."
    there, must = _told(ours), {_bare(rule) for rule in wanted.rules}
    if there != must:
        lacking = sorted(rule.name for rule in must - there)
        more = sorted({element.findtext("{*}ID") or "" for element in ours} - {rule.name for rule in must})
        said = [f"{len(lacking)} rules are missing or other than they must be: {_some(lacking)}."] if lacking else []
        said += [f"{len(more)} are there for nobody any more: {_some(more)}."] if more else []
        return failed(name, " ".join(said), advice)
    if wanted.without_room:
        return warning(
            name,
            f"All {len(must)} rules are there. {wanted.without_room} tenants have no room for one of their own, and "
            "keep old versions as long as most.",
            "A bucket takes 1,000 rules. Give fewer plans a time of their own.",
        )
    return ok(name, f"All {len(must)} rules are there.")


def _held(found: Sequence[Element], prefix: str, known: Sequence[Tenure]) -> Check:
    name = "legal_holds"
    held = [each for each in known if each.is_held]
    rules = [rule for element in found if (rule := read_s3_rule(element)) is not None]
    hit = sorted({each.tenant_id for each in held for rule in rules if reaches(rule, prefix, each)})
    if hit:
        return failed(
            name,
            f"Rules end old versions of {len(hit)} tenants that are under a legal hold: {_some(hit)}.",
            "`s4 lifecycle apply`, at once. What the store removes nobody brings back.",
        )
    return ok(name, f"No rule reaches any of the {len(held)} tenants under a hold.")


def _foreign(foreign: Sequence[Element], prefix: str) -> Check:
    """Rules of others that expire or move what is S4's and current."""
    name = "other_rules"
    harmful = []
    for element in foreign:
        where = prefix_of(element)
        within = where.startswith(prefix) or prefix.startswith(where)
        if element.findtext("{*}Status") != "Enabled" or not within or element.find(".//{*}Tag") is not None:
            continue  # off, elsewhere, or of tagged objects: S4 tags nothing
        expires = element.find("{*}Expiration")
        ends = expires is not None and expires.find("{*}ExpiredObjectDeleteMarker") is None
        if ends or element.find("{*}Transition") is not None:
            harmful.append(element.findtext("{*}ID") or "without a name")
    if harmful:
        return failed(
            name,
            f"Rules of others expire or move objects that S4 needs where they are: {_some(sorted(harmful))}.",
            "Take S4's prefix out of them: indices, heads and texts must answer at once, and what ends, S4 ends.",
        )
    return ok(name, f"{len(foreign)} rules of others do S4 no harm.")


async def _current(signed: SignedRequests) -> list[Element]:
    """The rules that the bucket has. Raises `S4Error`."""
    answer = await signed.ask("GET", None, query=_QUERY)
    if answer.code == _NONE:
        return []
    document = answer.document() if answer.ok else None
    if document is None:
        why = "s3:GetLifecycleConfiguration is missing" if answer.denied else f"{answer.status} {answer.code or ''}"
        raise S4Error(f"The bucket does not show its rules: {why.strip()}.")
    return document.findall("{*}Rule")


def _parted(found: Sequence[Element], prefix: str) -> tuple[list[Element], list[Element]]:
    """S4's own, and those of others."""
    begins = tag(prefix)
    ours = [element for element in found if (element.findtext("{*}ID") or "").startswith(begins)]
    return ours, [element for element in found if element not in ours]


def _told(elements: Sequence[Element]) -> set[Rule]:
    return {_bare(rule) for element in elements if (rule := read_s3_rule(element)) is not None}


def _bare(rule: Rule) -> Rule:
    """As stores answer: a prefix of nothing is no prefix."""
    return replace(rule, prefix=rule.prefix or "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + more
