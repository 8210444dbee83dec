"""Tokens of models whose tokenizer is not at hand: an estimate that errs on the high side.

A provider counts tokens in its own way, which we cannot know for every model behind an "OpenAI-compatible"
address. Cutting and batching need no more than an estimate, for a chunk is far below any provider's limit:
eight ASCII letters are a token, three digits, two characters of other alphabets, and every other character
(CJK, emoji, punctuation) by itself. No data, the same answer for ever.
"""

import re

# U+2E80 is where CJK begins; below lie the alphabets (Greek, Cyrillic, Arabic, Devanagari and so on).
_TOKEN = re.compile(r"[A-Za-z_]{1,8}|[0-9]{1,3}|[^\W\x00-\x7f\u2e80-\U0010ffff]{1,2}|\S")


def token_offsets(text: str) -> list[tuple[int, int]]:
    """Code point ranges of the estimated tokens."""
    return [match.span() for match in _TOKEN.finditer(text)]


def count_tokens(text: str) -> int:
    """`len(token_offsets(text))`."""
    return sum(1 for _ in _TOKEN.finditer(text))
