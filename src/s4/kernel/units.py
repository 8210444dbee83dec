"""Sizes in bytes."""

import re

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|K|M|G|T)?\s*", re.IGNORECASE)
_FACTOR = {"b": 1, "kib": KIB, "k": KIB, "mib": MIB, "m": MIB, "gib": GIB, "g": GIB, "tib": TIB, "t": TIB}


def parse_size(text: str | int) -> int:
    """`"10 MiB"` is 10,485,760 bytes. A bare number is bytes. Raises `ValueError`."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512, 10MiB or 1.5GiB")
    return int(float(match[1]) * _FACTOR[(match[2] or "B").lower()])


def human_size(size_bytes: int) -> str:
    """`1536` is `"1.5 KiB"`."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
