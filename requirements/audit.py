"""The audit of what is locked: `make audit`. Asks a service about every pin, and says what it could not ask.

pip-audit ends with 0 and "No known vulnerabilities found" when its service knew none of the packages, which is what a
mirror or a proxy without that data answers. So the answer is believed only if the same service, asked in the same run,
names a vulnerability of a release that is known to have some; and a pin that was skipped counts as not audited.

Exit codes: 0 all was audited and nothing found, 1 a vulnerability was found, 3 something or all could not be audited.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

EXIT_VULNERABLE = 1
EXIT_NOT_AUDITED = 3

CANARY = "jinja2==2.4.1"
"""Has had advisories since 2014 (CVE-2014-1402 among others), on every service."""
_PIP_AUDIT = Path(sys.executable).with_name("pip-audit")
_SECONDS_MAX = 900  # a hundred packages, asked one after the other, over a slow line
_REASON_CHARS_MAX = 300


@dataclass
class Audit:
    """What one lock's audit came to. `failed`: why nothing of it could be asked."""

    lock: str
    audited: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason by package."""
    vulnerable: list[dict[str, Any]] = field(default_factory=list)
    """`name`, `version`, `id`, `aliases`, `fix_versions`."""
    failed: str | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes `audit.md` and `audit.json` and answers with the exit code."""
    parser = argparse.ArgumentParser(description="Known vulnerabilities of what lock files pin.")
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of audit.md and audit.json")
    parser.add_argument("--service", default="pypi", choices=("pypi", "osv"))
    parser.add_argument("--osv-url", help="of a copy of OSV's service")
    asked = parser.parse_args(arguments)
    service = ["--vulnerability-service", asked.service, *(["--osv-url", asked.osv_url] if asked.osv_url else [])]
    blind = blindness(service)
    audits = [Audit(lock.name, failed=blind) if blind else audit(lock, service) for lock in asked.locks]
    code = verdict(audits)
    said = page(audits, made_at=datetime.now(UTC), service=asked.service)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "audit.md").write_text(said, encoding="utf-8")
    (asked.out / "audit.json").write_text(
        json.dumps({"exit_code": code, "service": asked.service, "locks": [vars(each) for each in audits]}, indent=2)
        + "\n",
        encoding="utf-8",
    )
    print(said, file=sys.stdout if code == 0 else sys.stderr)
    return code


def blindness(service: Sequence[str]) -> str | None:
    """Why the service's answers cannot be believed; None when it knows what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "canary.txt")
        canary.write_text(CANARY + "\n", encoding="utf-8")
        found = audit(canary, service, hashed=False)
    if found.vulnerable:
        return None
    why = next(iter(found.skipped.values()), found.failed or "it names none")
    return f"the service, asked about {CANARY}, does not know its vulnerabilities: {why}"


def audit(lock: Path, service: Sequence[str], *, hashed: bool = True) -> Audit:
    """Asks about each pin of `lock` that applies to this machine."""
    asked = [str(_PIP_AUDIT), "--requirement", str(lock), "--disable-pip", "--format", "json"]
    asked += ["--progress-spinner", "off", "--require-hashes" if hashed else "--no-deps", *service]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)  # noqa: S603 (its own arguments)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Audit(lock.name, failed=f"pip-audit did not run to its end: {error}")
    return judge(lock.name, done.stdout, done.stderr)


def judge(lock: str, answer: str, errors: str) -> Audit:
    """What pip-audit's JSON says."""
    try:
        dependencies = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "it said nothing")
        return Audit(lock, failed=f"pip-audit had no answer: {last.strip()[:_REASON_CHARS_MAX]}")
    found = Audit(lock)
    for each in dependencies:
        if "skip_reason" in each:
            found.skipped[each["name"]] = each["skip_reason"]
            continue
        found.audited += 1
        for known in each["vulns"]:
            taken = {name: known.get(name) for name in ("id", "aliases", "fix_versions")}
            found.vulnerable.append({"name": each["name"], "version": each["version"], **taken})
    if not found.audited:
        found.failed = f"of {len(found.skipped)} packages none is known to the service"
    return found


def verdict(audits: Sequence[Audit]) -> int:
    if any(each.vulnerable for each in audits):
        return EXIT_VULNERABLE
    return EXIT_NOT_AUDITED if any(each.failed or each.skipped for each in audits) else 0


def page(audits: Sequence[Audit], *, made_at: datetime, service: str) -> str:
    """The report as Markdown."""
    lines = [f"# Audit of dependencies, {made_at:%Y-%m-%d %H:%M} UTC", "", f"**{_sentence(audits)}**", ""]
    lines += [f"Asked: {service}.", "", "| lock | audited | not audited | vulnerabilities |", "|---|---|---|---|"]
    for each in audits:
        count = "all" if each.failed else str(len(each.skipped))
        lines.append(f"| {each.lock} | {each.audited} | {count} | {len(each.vulnerable)} |")
    if found := [(each.lock, known) for each in audits for known in each.vulnerable]:
        lines += ["", "## Vulnerabilities", "", "| lock | package | advisory | mended in |", "|---|---|---|---|"]
        for lock, known in found:
            names = ", ".join([known["id"], *(known["aliases"] or ())])
            mended = ", ".join(known["fix_versions"] or ()) or "no release yet"
            lines.append(f"| {lock} | {known['name']} {known['version']} | {names} | {mended} |")
    unasked = [f"- {each.lock}: {each.failed}." for each in audits if each.failed]
    unasked += [f"- {each.lock}, {name}: {why}" for each in audits for name, why in sorted(each.skipped.items())]
    if unasked:
        lines += ["", "## Not audited", "", *unasked]
    return "\n".join(lines) + "\n"


def _sentence(audits: Sequence[Audit]) -> str:
    vulnerable = sum(len(each.vulnerable) for each in audits)
    if all(each.failed for each in audits):
        return "NOTHING was audited: this says nothing about vulnerabilities."
    if vulnerable:
        return f"{vulnerable} known vulnerabilities."
    if verdict(audits):
        return "No vulnerability is known of what was audited, but not everything was."
    return "Everything was audited; no vulnerability is known."


if __name__ == "__main__":
    sys.exit(main())
