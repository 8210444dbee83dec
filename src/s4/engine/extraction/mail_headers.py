"""Headers of e-mail in bounded time.

The standard library's parser of addresses and encoded words takes time in the square of their length: two megabytes in
`To` take it hours. Honest headers, a mailing to hundreds, have some kilobytes.
"""

from email.policy import EmailPolicy
from typing import Any

HEADER_CHARS_MAX = 8_192  # some two hundred addresses; the worst of them take a second


class BoundedPolicy(EmailPolicy):
    """The modern policy, reading no more than the beginning of a header."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return super().header_fetch_parse(name, value[:HEADER_CHARS_MAX] if isinstance(value, str) else value)


BOUNDED = BoundedPolicy()
