"""Which authorities a process trusts, and what is said of files that are no certificates."""

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from s4.kernel.errors import InvalidRequest
from s4.platform.trust import check_listener, expires_at, trusting
from tests.factories.tls import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusted() -> set[bytes]:
    """Every authority that a library finds which asks for the default ones."""
    context = ssl.create_default_context()
    return set(context.get_ca_certs(binary_form=True))


def test_the_operators_authority_is_trusted_beside_the_systems_and_only_for_a_while(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    system = Authority(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(system.file))
    (of_the_system,) = trusted()
    with trusting(authority.file):
        assert len(trusted()) == 2
        assert of_the_system in trusted()
        bundle = Path(os.environ["SSL_CERT_FILE"])
        assert bundle != system.file
    assert trusted() == {of_the_system}
    assert not bundle.exists()


def test_without_an_authority_of_ones_own_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with trusting(None):
        assert "SSL_CERT_FILE" not in os.environ


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_an_authority_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with (
        pytest.raises(InvalidRequest, match=r"^S4_CA_FILE: .*ca\.pem (cannot be read|holds no certificate)"),
        trusting(file),
    ):
        pass


def test_a_certificate_and_its_key_are_taken(authority: Authority) -> None:
    check_listener(authority.certificate, authority.key)
    check_listener(None, None)


def test_a_key_of_another_certificate_or_under_a_password_is_refused_without_asking_for_one(
    authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidRequest, match="are no certificate and its unencrypted key"):
        check_listener(authority.certificate, Authority(tmp_path / "other").key)
    key = load_pem_private_key(authority.key.read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush")))
    with pytest.raises(InvalidRequest, match="are no certificate and its unencrypted key"):
        check_listener(authority.certificate, encrypted)


def test_it_is_known_when_the_listeners_certificate_expires(authority: Authority) -> None:
    said = ssl._ssl._test_decode_cert(str(authority.certificate))["notAfter"]  # type: ignore[attr-defined]
    assert expires_at(authority.certificate).timestamp() == ssl.cert_time_to_seconds(said)
