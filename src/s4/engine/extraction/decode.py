"""From bytes to text, for formats that are text.

Order of belief: a byte-order mark, valid UTF-8, the zeros of UTF-16 without a mark, the charset that the
document or its sender names, nearly valid UTF-8, and last Windows-1252, which reads every Latin-1 text too.
Bytes that are full of control characters in whatever encoding are not text.
"""

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Control characters that no text uses: C0 without tab, line feed, vertical tab, form feed, return and escape
# (terminal colours in logs), DEL, C1, and U+FFFD, which stands for what could not be decoded.
_STRANGE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffd]")
_STRANGE_SHARE_MAX = 0.05  # random bytes read as Windows-1252 have 0.12, text with a stray NUL far less
_SAMPLE_CHARS = 65_536
_DROPPED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufeff]")
REPLACED_WARNING = "Some characters could not be decoded and were replaced."


def decode_text(data: bytes, *, charset: str | None) -> tuple[str, tuple[str, ...]] | None:
    """The text and warnings, or None when the bytes are not text. `charset` is a hint from outside."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _accept(data.decode(encoding, errors="replace"))
    try:
        return _accept(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    text = _utf16_without_mark(data) or _named(data, charset)
    if text is not None:
        return _accept(text)
    text = data.decode("utf-8", errors="replace")
    foreign = sum(1 for char in text[:_SAMPLE_CHARS] if char > "\x7f")
    if foreign and text.count("\ufffd", 0, _SAMPLE_CHARS) * 20 <= foreign:  # a few damaged places in UTF-8
        return _accept(text)
    return _accept(data.decode("cp1252", errors="replace"))


def clean(text: str) -> str:
    """Unix line ends, and nothing that a database, JSON or a terminal chokes on: NUL and other control
    characters, lone surrogates, byte-order marks. A form feed ends a line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _DROPPED.sub("", text)


def _accept(text: str) -> tuple[str, tuple[str, ...]] | None:
    sample = text[:_SAMPLE_CHARS]
    if len(_STRANGE.findall(sample)) > _STRANGE_SHARE_MAX * len(sample):
        wide = _utf16_without_mark(text.encode("utf-8", errors="replace"))  # ASCII in UTF-16 is valid UTF-8
        return None if wide is None else (wide, ())
    return text, ((REPLACED_WARNING,) if "\ufffd" in text else ())


def _utf16_without_mark(data: bytes) -> str | None:
    """Latin text in UTF-16 has a zero in every other byte and hardly any elsewhere."""
    sample = data[: _SAMPLE_CHARS & ~1]
    half = len(sample) // 2
    if half < 4:
        return None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 0.4 * half and others < 0.02 * half:
            text = data.decode(encoding, errors="replace")
            share = len(_STRANGE.findall(text[:_SAMPLE_CHARS])) / half
            return text if share <= _STRANGE_SHARE_MAX else None
    return None


def _named(data: bytes, charset: str | None) -> str | None:
    if not charset:
        return None
    try:
        codec = codecs.lookup(charset)
        return data.decode(codec.name) if codec.name not in ("utf-8", "punycode", "idna") else None
    except (LookupError, UnicodeError, ValueError):  # unknown, not a text codec, or it does not fit
        return None
