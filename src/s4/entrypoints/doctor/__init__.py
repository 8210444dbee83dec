"""Examinations: of what S4 stands on, before it stands there, `s4 doctor store`; of a whole deployment, `s4 doctor`.

An examination is a folder or module here with one function that answers with a `Report`, and one command in
`entrypoints/cli/doctor_commands.py`. It tries things as S4 does them, says of each what came of it and what to do
next, and leaves nothing behind.
"""

from s4.entrypoints.doctor.report import LIVE, Check, Report, Verdict, failed, ok, unknown, warning

__all__ = ["LIVE", "Check", "Report", "Verdict", "failed", "ok", "unknown", "warning"]
