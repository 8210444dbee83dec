"""The signature: `t=<epoch>,v1=<hex>`, HMAC-SHA256 of `<epoch>.<body>`. While a secret is being replaced there are two
`v1`, so that the receiver may change its own at any moment within the overlap."""

import hashlib
import hmac
from collections.abc import Sequence


def sign(body: bytes, *, secrets: Sequence[str], epoch: int) -> str:
    signed = f"{epoch}.".encode() + body
    return ",".join(
        [f"t={epoch}", *(f"v1={hmac.new(each.encode(), signed, hashlib.sha256).hexdigest()}" for each in secrets)]
    )
