"""Names and types that callers claim for their files, made harmless to show, store and send back."""

import re
import unicodedata

FILENAME_CODE_POINTS_MAX = 255  # what file systems and browsers bear
FILENAME_BYTES_MAX = 1024  # UTF-8; 255 code points of four bytes just fit
UNNAMED = "unnamed"
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_SUFFIX_MAX = 16  # a longer "extension" is part of the name
_CONTENT_TYPE_MAX = 255
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = rf'[ \t]*;[ \t]*(?:{_WORD}=(?:{_WORD}|"(?:[ !#-\[\]-~]|\\[ -~])*"))?'
_CONTENT_TYPE = re.compile(rf"({_WORD}/{_WORD})((?:{_PARAMETER})*)[ \t]*")


def safe_filename(name: str) -> str:
    """A display name: no path, no control or direction-changing characters, bounded, never empty."""
    visible = "".join(c for c in name if _is_displayable(c))
    parts = [part.strip() for part in re.split(r"[/\\]", visible)]
    named = [part for part in parts if part.strip(".")]
    return _shorten(named[-1]) if named else UNNAMED


def clean_content_type(value: str | None) -> str:
    """The media type with its parameters if it is well-formed, else the type of unknown bytes."""
    if value is None or len(value) > _CONTENT_TYPE_MAX:
        return DEFAULT_CONTENT_TYPE
    match = _CONTENT_TYPE.fullmatch(value.strip())
    return match[1].lower() + match[2].rstrip("; \t") if match else DEFAULT_CONTENT_TYPE


def _is_displayable(character: str) -> bool:
    # Cc control, Cf format (bidirectional overrides, zero width), Cs lone surrogates, Zl and Zp line
    # separators. The zero-width joiner stays: family emoji and several Indic scripts are spelt with it.
    return character == "\u200d" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _shorten(name: str) -> str:
    if _fits(name):
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = dot + extension if stem and len(extension) <= _SUFFIX_MAX else ""
    stem = name[: len(name) - len(suffix)][: FILENAME_CODE_POINTS_MAX - len(suffix)]
    while not _fits(stem + suffix):
        stem = stem[:-1]
    return stem.rstrip() + suffix


def _fits(name: str) -> bool:
    return len(name) <= FILENAME_CODE_POINTS_MAX and len(name.encode()) <= FILENAME_BYTES_MAX
