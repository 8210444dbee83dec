"""`s4 lifecycle …`: what the store itself does with old objects, by rules that follow from plans, settings and holds.

`rules` decides which rules there must be; `documents` writes them as S3 and as Google's storage read them; `bucket`
brings them into a bucket, and looks what is there.
"""

from s4.entrypoints.lifecycle.bucket import Applied, apply, check, wanted_rules
from s4.entrypoints.lifecycle.documents import google_document, s3_document
from s4.entrypoints.lifecycle.rules import Rule, Tenure, Wanted, lifecycle_rules

__all__ = [
    "Applied",
    "Rule",
    "Tenure",
    "Wanted",
    "apply",
    "check",
    "google_document",
    "lifecycle_rules",
    "s3_document",
    "wanted_rules",
]
