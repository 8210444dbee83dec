"""What `s4 doctor` found, as a test asks for it."""

from s4.entrypoints.doctor import Report, Verdict


def verdicts(report: Report) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in report.checks}


def said(report: Report, name: str) -> str:
    check = next(check for check in report.checks if check.name == name)
    return f"{check.message} {check.advice or ''}"
