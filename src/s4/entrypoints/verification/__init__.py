"""Proves against a running deployment that no tenant reaches another's data (`s4 verify-isolation`).

The matrix comes from the deployment's own OpenAPI document; `declared.py` says how each route is called. Everything
goes over HTTP, as a tenant or a stranger would come: nothing here looks behind the API, but for `bucket`, which parses
the keys of the objects. What was done and what came of it is a `Report`.
"""

from s4.entrypoints.verification.callers import CannotVerify
from s4.entrypoints.verification.report import Report, Verdict
from s4.entrypoints.verification.run import CHECKS, Target, verify

__all__ = ["CHECKS", "CannotVerify", "Report", "Target", "Verdict", "verify"]
