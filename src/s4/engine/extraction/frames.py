"""What the pool and its children say to each other: frames of JSON behind an eight-byte length.

A child first says `{"ready": true}` or `{"failed": reason}`. To each request `{path, filename, content_type, limits,
seconds_max}` it answers `{"ok": <ExtractedText>}`, `{"error": {code, message, detected_type}}`, `{"spent": "memory"}`
when it ran into its own limit, or `{"unreadable": reason}` when the path cannot be read; an answer to a request also
carries `memory_bytes`, the most memory that the child has used so far.
"""

import json
import struct
from typing import Any, BinaryIO

HEADER = struct.Struct(">Q")


def encode(message: dict[str, Any]) -> bytes:
    """A frame. Lone surrogates (file names that are not UTF-8) survive as escapes."""
    try:
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        body = json.dumps(message).encode()
    return HEADER.pack(len(body)) + body


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message, or None when the other side has closed. For the child, which trusts its parent."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    body = stream.read(HEADER.unpack(header)[0])
    message: dict[str, Any] = json.loads(body)
    return message
