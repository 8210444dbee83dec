"""No secret that S4 knows gets into the log: of every kind, in every format, from every place a value comes from."""

import base64
import gc
import logging
import random
import secrets
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter
from sqlalchemy.engine import make_url

from s4.kernel.settings import LogFormat, Settings, secret_settings
from s4.platform.security import credentials
from s4.platform.telemetry.logs import catch_unhandled, known_secrets
from tests.factories.events import written

URLS = {
    "database_url": "postgresql://s4:{}@db/s4",
    "redis_url": "rediss://:{}@cache:6379/0",
    "smtp_url": "smtps://s4:{}@mail:465",
}


def settings_with_secrets() -> tuple[Settings, Mapping[str, str]]:
    """Every secret setting set, and the part of each that must not be seen. None looks like a secret by itself."""
    hidden = {name: f"Plain{i}/word+that=is%40{i}" for i, name in enumerate(sorted(secret_settings()))}
    longer = {name: word * 2 for name, word in hidden.items()}
    given = {name: URLS[name].format(quote(word, safe="")) if name in URLS else word for name, word in longer.items()}
    return Settings(**given), hidden  # type: ignore[arg-type]


def minted() -> Mapping[str, str]:
    """What S4 makes, and what clouds give: known by its form."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    return {
        "key of a tenant": credentials.mint(secrets.token_bytes).plaintext,
        "key of an administrator": credentials.mint_admin(secrets.token_bytes).plaintext,
        "secret of a webhook": "whsec_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
        "access key of AWS": "AKIA" + "".join(random.choices("ABCDEFGH2345", k=16)),
        "token of Google": "ya29." + secrets.token_urlsafe(40),
        "key of a provider": "sk-proj-" + secrets.token_urlsafe(40),
        "private key of Google": pem,
    }


PLACES: Mapping[str, Callable[[str], None]] = {
    "text": lambda secret: structlog.get_logger().info("x", note=f"it is {secret}, you know"),
    "name": lambda secret: structlog.get_logger().info("x", **{f"a {secret}": 1}),
    "event": lambda secret: structlog.get_logger().info(f"x.{secret}"),
    "header": lambda secret: structlog.get_logger().info("x", headers={"X-Tenant-Key": secret, "Accept": secret}),
    "nested": lambda secret: structlog.get_logger().info("x", a=[{"b": ({"c": [f"<{secret}>"]},)}]),
    "URL": lambda secret: structlog.get_logger().info("x", url=f"https://h/p?a=1&q={quote(secret, safe='')}"),
    "bytes": lambda secret: structlog.get_logger().info("x", body=secret.encode()),
    "traceback": lambda secret: _raised(lambda: ValueError(f"no {secret}")),
    "cause": lambda secret: _raised(lambda: RuntimeError("no"), cause=KeyError(secret)),
    "library": lambda secret: logging.getLogger("lance").error("cannot open %s (%r)", secret, {"o": secret}),
    "httpx": lambda secret: _raised(lambda: _of_httpx(secret)),
    "pydantic": lambda secret: _raised(lambda: _of_pydantic(secret)),
    "sqlalchemy": lambda secret: _raised(lambda: ValueError(str(make_url(f"sqlite:///{quote(secret)}")))),
    "warning": lambda secret: warnings.warn(f"old {secret}", stacklevel=1),
}


def _raised(make: Callable[[], Exception], cause: Exception | None = None) -> None:
    try:
        raise make() from cause
    except Exception:
        structlog.get_logger().exception("x", error="it broke")


def _of_httpx(secret: str) -> Exception:
    try:
        httpx.get(f"http://127.0.0.1:99999/?signed={quote(secret, safe='')}", headers={"x-key": secret})
    except Exception as error:
        return error
    raise AssertionError("nothing listens there")


def _of_pydantic(secret: str) -> Exception:
    try:
        TypeAdapter(int).validate_python(secret)
    except ValueError as error:
        return error
    raise AssertionError("it is no number")


def assert_hidden(told: Iterable[str], log_format: LogFormat, *, parts: Callable[[str], str], **how: Any) -> None:
    """Tells each from every place; `parts` is what of it must not be seen."""
    for place, tell in PLACES.items():
        with written(log_format, **how) as stream:
            for secret in told:
                tell(secret)
        output = stream.getvalue()
        assert output, place
        for secret in told:
            for form in (parts(secret), quote(parts(secret), safe="")):
                assert form not in output, f"{secret}, {place}"


def middle(secret: str) -> str:
    """Of a key in PEM form a line of it."""
    return secret.split("\n")[1] if "BEGIN" in secret else secret[12:]


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("log_format", list(LogFormat))
def test_what_is_a_secret_by_its_form_is_in_no_line(log_format: LogFormat) -> None:
    assert_hidden(minted().values(), log_format, parts=middle)


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_the_settings_call_a_secret_is_in_no_line_whatever_it_looks_like(log_format: LogFormat) -> None:
    settings, hidden = settings_with_secrets()
    assert len(hidden) >= 10
    told = [word * 2 for word in hidden.values()]
    assert_hidden(told, log_format, parts=lambda word: word[: len(word) // 2], secrets=known_secrets(settings))


def test_the_test_would_see_it() -> None:
    _, hidden = settings_with_secrets()
    with written(LogFormat.JSON) as stream:
        PLACES["text"](next(iter(hidden.values())))
    assert next(iter(hidden.values())) in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "X-Admin-Key: an-operators-choice",
        "x-amz-security-token: IQoJb3JpZ2luX2Vj",
        '{"aws_secret_access_key": "wJalrXUtnFEMI"}',
        r"{\"secret_key\": \"wJalrXUtnFEMI\"}",
        "api_key='wJalrXUtnFEMI'",
        "GET /v1?api_key=wJalrXUtnFEMI&x=1",
        "https://h/o?X-Goog-Signature=deadbeef01&X-Goog-Credential=me%40acme",
        "https://h/o?AWSAccessKeyId=me&Signature=deadbeef01&Expires=1",
        "client_secret=wJalrXUtnFEMI-4711",
        '{"refresh_token": "wJalrXUtnFEMI-4711"}',
        "X-Metrics-Token: wJalrXUtnFEMI-4711",
        "Authorization: Token wJalrXUtnFEMI-4711",
        "Cookie: session=wJalrXUtnFEMI-4711",
        "passphrase: wJalrXUtnFEMI-4711",
        "it was AIza" + "wJalrXUt" * 4 + "abc",
        "it was eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.wJalrXUtnFEMI",
    ],
)
def test_what_stands_under_a_secret_name_in_a_text_is_hidden(text: str) -> None:
    with written(LogFormat.JSON) as stream:
        structlog.get_logger().info("x", note=text)

    for value in ("an-operators", "IQoJb3", "wJalrXUt", "deadbeef", "me%40acme"):
        assert value not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


@pytest.mark.parametrize("text", ["token: expired", "chunk_tokens_max=512", "the secret: short", "cookies: 3 of them"])
def test_what_is_said_of_secrets_is_said(text: str) -> None:
    with written(LogFormat.JSON) as stream:
        structlog.get_logger().info("x", note=text)

    assert text in stream.getvalue()


def test_what_nobody_caught_is_a_line_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, hook in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(owner, hook, getattr(owner, hook))
    secret = credentials.mint(secrets.token_bytes).plaintext

    def fail(*_: Any) -> None:
        raise ValueError(secret)

    with written(LogFormat.JSON) as stream:
        catch_unhandled()
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        leaving = type("Leaving", (), {"__del__": fail})()
        del leaving
        gc.collect()
        try:
            fail()
        except ValueError:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]

    assert stream.getvalue().count("process.exception_unhandled") == 3
    assert all(f'"where": "{where}"' in stream.getvalue() for where in ("thread", "destructor", "main"))
    assert secret not in stream.getvalue()
