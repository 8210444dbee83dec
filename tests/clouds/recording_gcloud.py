"""Stands in for `gcloud`: notes how it was called and what was in the files that it was given, and changes nothing.

It keeps to GCLOUD_NOTES, a folder: `calls.jsonl` is written; `exists` has the names of policies that are there already,
and says that everything else is, too.
"""

import json
import os
import sys
from pathlib import Path

notes = Path(os.environ["GCLOUD_NOTES"])
words = sys.argv[1:]
files = [word.split("=", 1)[1] for word in words if "-from-file=" in word]
files += [word for word in words if word.endswith("policy.json") and "=" not in word]
with (notes / "calls.jsonl").open("a") as log:
    log.write(json.dumps({"words": words, "files": [Path(each).read_text() for each in files]}) + "\n")

exists = (notes / "exists").exists()
if "get-iam-policy" in words:
    logged = [{"logType": "DATA_READ", "exemptedMembers": ["user:alice@example.com"]}]
    configs = [{"service": "storage.googleapis.com", "auditLogConfigs": logged}, {"service": "sqladmin.googleapis.com"}]
    print(json.dumps({"bindings": [{"role": "roles/owner", "members": []}], "etag": "BwX", "auditConfigs": configs}))
elif "channels" in words and ("create" in words or exists):
    print("projects/my-project/notificationChannels/1")
elif "describe" in words:
    print("the-etag")
elif "policies" in words and exists and "list" in words:
    for number, name in enumerate((notes / "exists").read_text().split()):
        print(f"{name}\tprojects/my-project/alertPolicies/{number}")
elif "list" in words and exists:
    print("s4-trails\tTrue" if "buckets" in words else "projects/my-project/dashboards/1")
