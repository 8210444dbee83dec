"""Headers under which a tenant's bytes leave: named by RFC 6266 and RFC 8187, unable to act in a browser."""

import re
from urllib.parse import quote

from starlette.responses import Response

from s4.platform.http.names import clean_content_type, safe_filename

INLINE_TYPES = frozenset(
    {
        "application/pdf",
        "text/plain",
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "video/mp4",
        "video/webm",
    }
)
"""Types that a browser shows without running anything. HTML, SVG, XML and scripts are not, and stay out."""

ACTIVE_TYPES = frozenset({"text/html", "application/xml", "text/javascript"})
"""What extraction may find in bytes and a browser would run; SVG and XHTML are found as one of these."""

DOWNLOAD_POLICY = "sandbox; default-src 'none'"
"""Should a browser show the bytes after all: no scripts, no forms, no requests, an origin of its own."""

_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187's attr-char besides letters and digits
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')  # a percent sign in the fallback would be decoded by some browsers


def may_be_inline(declared: str, detected: str | None) -> bool:
    """Whether a browser may show in place what is called `declared`, and what the bytes are found to be.

    While nothing is found, pictures, sound and films may: no reader looks into them, and `nosniff` keeps a browser to
    what they are called.
    """
    kind = clean_content_type(declared).partition(";")[0].strip()
    if kind not in INLINE_TYPES:
        return False
    if detected is None:
        return kind.startswith(("image/", "audio/", "video/"))
    return detected not in ACTIVE_TYPES


def content_disposition(filename: str, *, inline: bool = False) -> str:
    """`attachment; filename="fallback.txt"; filename*=UTF-8''...`; ASCII only."""
    name = safe_filename(filename)
    fallback = _NOT_PLAIN.sub("_", name)
    value = f'{"inline" if inline else "attachment"}; filename="{fallback}"'
    return value if fallback == name else f"{value}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def download_headers(
    *, filename: str, content_type: str, etag: str, detected_type: str | None = None, inline_wanted: bool = False
) -> dict[str, str]:
    """All headers of a download but its length and range. `inline_wanted` is obeyed for safe types only."""
    inline = inline_wanted and may_be_inline(content_type, detected_type)
    return {
        "Content-Type": clean_content_type(content_type),
        "Content-Disposition": content_disposition(filename, inline=inline),
        "Content-Security-Policy": DOWNLOAD_POLICY,
        "X-Content-Type-Options": "nosniff",
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",  # may be kept by its owner, who asks again each time
    }


def not_modified(etag: str) -> Response:
    """304: the caller's copy is current."""
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
