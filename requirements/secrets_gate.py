"""Looks for credentials: `make secrets`. No file that is tracked holds something that looks like one.

The forms are detect-secrets'. Each finding is either a secret, which is then to be revoked and not only removed, or a
line of `requirements/known-secrets.toml`, with the reason why it is none. Files are told by their path, findings by
the hash of what was found, so that lines may move.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

KNOWN = Path("requirements/known-secrets.toml")
_PASSED_BY = (".lock", ".zst", ".sse", "SHA256SUMS")
"""Hashes throughout, or not text."""
_ISSUED = [
    "ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "CloudantDetector", "DiscordBotTokenDetector",
    "GitHubTokenDetector", "GitLabTokenDetector", "IbmCloudIamDetector", "IbmCosHmacDetector", "JwtTokenDetector",
    "MailchimpDetector", "NpmDetector", "OpenAIDetector", "PrivateKeyDetector", "PypiTokenDetector",
    "SendGridDetector", "SlackDetector", "SoftlayerDetector", "SquareOAuthDetector", "StripeDetector",
    "TelegramBotTokenDetector", "TwilioKeyDetector",
]  # fmt: skip
"""What issuers give a form of its own."""
_GUESSED = [
    {"name": "BasicAuthDetector"},
    {"name": "KeywordDetector"},
    {"name": "Base64HighEntropyString", "limit": 4.5},
    {"name": "HexHighEntropyString", "limit": 3.0},
]
"""What only looks like one. Not in tests, whose keys are all invented and look like that on purpose."""


class Finding(NamedTuple):
    path: str
    line: int
    kind: str
    sha1: str


def main() -> int:
    """Answers with 1 when something was found that nobody has looked at. Arguments: files, or none for all tracked."""
    paths = sys.argv[1:] or _tracked()
    known = tomllib.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    looked_at = [path for path in paths if not path.endswith(_PASSED_BY) and Path(path).is_file()]
    fresh = [each for each in findings(looked_at) if each.sha1 not in known.get(each.path, {})]
    for each in fresh:
        print(f"{each.path}:{each.line}: {each.kind} ({each.sha1})", file=sys.stderr)
    print(f"{len(looked_at)} files looked at, {len(fresh)} findings that nobody has looked at")
    if fresh:
        print(f"Revoke what is a secret. What is none: its hash and the reason go to {KNOWN}.", file=sys.stderr)
    return 1 if fresh else 0


def findings(paths: Iterable[str]) -> list[Finding]:
    """By path, each read with the forms that are looked for in it."""
    invented, real = [], []
    for path in paths:
        (invented if path.startswith("tests/") else real).append(path)
    issued: list[Mapping[str, object]] = [{"name": name} for name in _ISSUED]
    return sorted([*_found(invented, issued), *_found(real, [*issued, *_GUESSED])])


def _found(paths: Iterable[str], plugins: Sequence[Mapping[str, object]]) -> Iterator[Finding]:
    with transient_settings({"plugins_used": plugins, "filters_used": _FILTERS}):
        for path in paths:
            for each in {(each.line_number, each.type, each.secret_hash) for each in scan_file(path)}:
                yield Finding(path, *each)


_ELSEWHERE = r"secretName:|secretsmanager:|GenerateSecretString:"
"""Of deployments' templates: lines that name a secret which is kept elsewhere."""
_FILTERS: list[dict[str, object]] = [
    {"path": f"detect_secrets.filters.heuristic.{name}"}
    for name in (
        "is_indirect_reference",
        "is_likely_id_string",
        "is_lock_file",
        "is_non_text_file",
        "is_not_alphanumeric_string",
        "is_potential_uuid",
        "is_prefixed_with_dollar_sign",
        "is_sequential_string",
        "is_templated_secret",
    )
]
_FILTERS.append({"path": "detect_secrets.filters.regex.should_exclude_line", "pattern": [_ELSEWHERE]})


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True)  # noqa: S607 (developers' own)
    return [path for path in listed.stdout.split("\0") if path]


if __name__ == "__main__":
    sys.exit(main())
