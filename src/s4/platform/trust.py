"""Which authorities this process trusts: the system's, and those that the operator names.

Many libraries speak TLS here: the object store's, LanceDB, the provider's, Redis', the mail server's. LanceDB can be
told of an authority in one way only, the variable `SSL_CERT_FILE`, which all the others read as well; so that is the
way for all. It names one file, which then stands for everything, hence a bundle of both. PostgreSQL's library does not
read it: its URL names the authority (`entrypoints/bootstrap`).
"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from s4.kernel.errors import InvalidRequest

_OF_THE_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)


@contextlib.contextmanager
def trusting(ca_file: Path | None) -> Iterator[None]:
    """Also the authorities in `ca_file`, for whatever connects until the block ends. Raises `InvalidRequest`."""
    check_authorities(ca_file)
    if ca_file is None:
        yield
        return
    before = os.environ.get("SSL_CERT_FILE")
    with tempfile.NamedTemporaryFile(prefix="s4-authorities-", suffix=".pem") as bundle:
        bundle.write(_of_the_system() + b"\n" + ca_file.read_bytes())
        bundle.flush()
        os.environ["SSL_CERT_FILE"] = bundle.name
        try:
            yield
        finally:
            if before is None:
                del os.environ["SSL_CERT_FILE"]
            else:
                os.environ["SSL_CERT_FILE"] = before


def check_authorities(ca_file: Path | None) -> None:
    """Raises `InvalidRequest` unless the file, if there is one, can be read and holds certificates."""
    if ca_file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise InvalidRequest(f"S4_CA_FILE: {ca_file} holds no certificate in PEM form.") from error
    except OSError as error:
        raise InvalidRequest(f"S4_CA_FILE: {ca_file} cannot be read: {error.strerror}.") from error


def check_listener(certificate: Path | None, key: Path | None) -> None:
    """Raises `InvalidRequest` unless both, if there are any, can be read and belong together."""
    if certificate is None or key is None:
        return
    for said, path in ((f"S4_TLS_CERT: {certificate}", certificate), (f"S4_TLS_KEY: {key}", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise InvalidRequest(f"{said} cannot be read: {error.strerror}.") from error
    try:
        # An encrypted key would ask for its password on a terminal that a server does not have.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise InvalidRequest(
            f"S4_TLS_CERT and S4_TLS_KEY: {certificate} and {key} are no certificate and its unencrypted key in PEM "
            f"form ({error.reason or error})."
        ) from error


def expires_at(certificate: Path) -> datetime:
    """When the first certificate of a file in PEM form expires, which is the listener's own."""
    from cryptography import x509  # here: a megabyte that most processes do not need

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _of_the_system() -> bytes:
    """What the system trusts, if it keeps that in a file: as `SSL_CERT_FILE` says, as Python's build says, as usual."""
    for path in (ssl.get_default_verify_paths().cafile, *_OF_THE_SYSTEM):
        if path is not None and Path(path).is_file():
            return Path(path).read_bytes()
    return b""
