"""From bytes to text, for formats that are text.

Order of belief: a byte-order mark, the escapes of ISO-2022-JP, the zeros of UTF-16 without a mark, valid UTF-8,
the charset that the document or its sender names, nearly valid UTF-8, what chardet recognises (see
`guess_charset`), and last Windows-1252, which reads every Latin-1 text too. Bytes that are full of control
characters in whatever encoding are not text.
"""

import codecs
import re

import chardet

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
_FOREIGN = re.compile(rb"[\x80-\xff]")
_LETTER = re.compile(rb"[A-Za-z]")
_DROPPED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff\ufeff]")
# What chardet may choose from: what files were really saved in. From all it knows, it takes short texts for rarities.
_WIDE = ("utf-16-le", "utf-16-be")
_MULTIBYTE = {"cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949", "euc_kr"}
_OTHER_SCRIPTS = {"cp1251", "koi8-r", "koi8-u", "cp866", "iso8859-5", "cp1253", "iso8859-7", "cp1255", "cp1256"}
_LATIN = {"cp1250", "cp850", "iso8859-2", "cp1254", "cp1257"}
_GUESSED = (*_WIDE, "euc-jp", "big5", *sorted(_MULTIBYTE - {"euc_jis_2004", "big5hkscs"}), *sorted(_OTHER_SCRIPTS))
_GUESSED += (*sorted(_LATIN), "cp1252")
_GUESS_BYTES = 65_536  # takes some 20 ms; more changes no answer
_FOREIGN_BYTES_MIN = 2  # a euro sign or a degree sign alone says nothing
_OTHER_SCRIPT_SHARE_MIN = 0.4  # of letters beyond ASCII: Cyrillic and the like have nearly 1, French at most 0.3
_LATIN_CONFIDENCE_MIN = 0.08  # Polish, Czech and Turkish have more; short French and German texts less
_ESCAPED_JAPANESE = re.compile(rb"\x1b\$[@B]")
REPLACED_WARNING = "Some characters could not be decoded and were replaced."


def decode_text(data: bytes, *, charset: str | None) -> tuple[str, tuple[str, ...]] | None:
    """The text and warnings, or None when the bytes are not text. `charset` is a hint from outside."""
    text = _decoded(data, charset)
    if _is_strange(text):  # much UTF-16 without a mark is valid UTF-8, and all of it valid Windows-1252
        wide = guess_charset(data)
        if wide not in _WIDE or _is_strange(text := data.decode(wide, errors="replace")):
            return None
    return text, ((REPLACED_WARNING,) if "\ufffd" in text else ())


def _decoded(data: bytes, charset: str | None) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if _ESCAPED_JAPANESE.search(data, 0, _SAMPLE_CHARS) and (text := _named(data, "iso2022_jp")) is not None:
        return text
    if (text := _utf16_without_mark(data)) is not None:
        return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if (text := _named(data, charset)) is not None:
        return text
    text = data.decode("utf-8", errors="replace")
    foreign = sum(1 for char in text[:_SAMPLE_CHARS] if char > "\x7f")
    if foreign and text.count("\ufffd", 0, _SAMPLE_CHARS) * 20 <= foreign:  # a few damaged places in UTF-8
        return text
    return data.decode(guess_charset(data) or "cp1252", errors="replace")


def guess_charset(data: bytes) -> str | None:
    """The codec of bytes that nobody names, or None where they do not tell it from Windows-1252. A wrong guess
    makes a text unreadable that Windows-1252 would have left readable but for a few letters, hence the doubts."""
    first = next((found.start() for found in _FOREIGN.finditer(data)), 0)
    sample = data[max(first - 1024, 0) & ~1 :][:_GUESS_BYTES]  # ASCII says nothing; even, for the sake of UTF-16
    answer = chardet.detect(sample, include_encodings=_GUESSED, compat_names=False)
    codec = answer["encoding"]
    foreign = len(_FOREIGN.findall(sample))
    if codec in _OTHER_SCRIPTS:
        share = foreign / (foreign + len(_LETTER.findall(sample)))
        return codec if foreign >= _FOREIGN_BYTES_MIN and share >= _OTHER_SCRIPT_SHARE_MIN else None
    if codec in _LATIN:
        sure = foreign >= _FOREIGN_BYTES_MIN and answer["confidence"] >= _LATIN_CONFIDENCE_MIN
        return codec if sure else None
    return codec if codec in _MULTIBYTE or codec in _WIDE else None


def clean(text: str) -> str:
    """Unix line ends, and nothing that a database, JSON or a terminal chokes on: NUL and other control
    characters, lone surrogates, byte-order marks. A form feed ends a line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _DROPPED.sub("", text)


def _is_strange(text: str) -> bool:
    sample = text[:_SAMPLE_CHARS]
    return len(_STRANGE.findall(sample)) > _STRANGE_SHARE_MAX * len(sample)


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
            return None if _is_strange(text) else text
    return None


def _named(data: bytes, charset: str | None) -> str | None:
    if not charset:
        return None
    try:
        codec = codecs.lookup(charset)
        return data.decode(codec.name) if codec.name not in ("utf-8", "punycode", "idna") else None
    except (LookupError, UnicodeError, ValueError):  # unknown, not a text codec, or it does not fit
        return None
