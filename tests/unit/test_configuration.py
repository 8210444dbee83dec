"""Settings from flags, variables and a file: which one wins, what is wrong with them, and no secret told."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import SecretStr

from s4.entrypoints.cli.app import build, run
from s4.entrypoints.cli.options import variables
from s4.entrypoints.configuration import (
    Configuration,
    handed_on,
    load_settings,
    read_configuration,
    taken_over,
)
from s4.kernel.errors import InvalidRequest
from s4.kernel.settings import EmbeddingProvider, Settings, secret_settings

HUSH = "hush-hush-0123456789-abcdefghij-KLMNOP"
DATABASE = f"postgresql://s4:{HUSH}@db.internal/s4"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("S4_"):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    """Writes a configuration file and answers with its path."""

    def write(text: str) -> Path:
        path = tmp_path / "s4.toml"
        path.write_text(text)
        return path

    return write


BELONG_TOGETHER = {
    "replica_store_access_key_id": "replica_store_secret_access_key",
    "replica_store_secret_access_key": "replica_store_access_key_id",
    "store_access_key_id": "store_secret_access_key",
    "store_secret_access_key": "store_access_key_id",
    "backup_access_key_id": "backup_secret_access_key",
    "backup_secret_access_key": "backup_access_key_id",
}


def problems(**given: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        read_configuration(**given)
    found: list[str] = caught.value.details["problems"]
    assert all(sentence in caught.value.message for sentence in found)
    return found


def secret_value(name: str) -> str:
    """One that the setting takes."""
    return {"database_url": DATABASE, "smtp_url": f"smtp://user:{HUSH}@mail.example.com"}.get(name, HUSH)


def revealed(loaded: Configuration, name: str) -> Any:
    value = getattr(loaded.settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


# -- which one wins


def test_flags_win_over_variables_over_the_file_over_defaults(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toml('host = "10.0.0.1"\nport = 1\nlog_level = "error"\n')
    monkeypatch.setenv("S4_PORT", "2")
    monkeypatch.setenv("S4_HOST", "10.0.0.2")

    loaded = read_configuration(file=file, host="10.0.0.3", port=None)

    settings = loaded.settings
    assert (settings.host, settings.port, settings.log_level, settings.drain_seconds) == ("10.0.0.3", 2, "error", 0.0)
    places = {name: (source.kind.value, source.place) for name, source in loaded.sources.items()}
    assert places == {
        "host": ("flag", "--host"),
        "port": ("environment", "S4_PORT"),
        "log_level": ("file", f"log_level in {file}"),
    }


def test_a_table_of_the_file_stands_for_the_beginning_of_the_names_in_it(toml: Any) -> None:
    file = toml(
        '[store]\nurl = "s3://bucket/prefix"\nconnect_timeout_seconds = 1.5\n[embedding]\nprovider = "openai"\n'
    )
    settings = read_configuration(file=file).settings
    assert settings.store_url == "s3://bucket/prefix"
    assert settings.store_connect_timeout_seconds == 1.5
    assert settings.embedding_provider is EmbeddingProvider.OPENAI


def test_sizes_may_be_written_with_a_unit_in_the_file_too(toml: Any) -> None:
    assert read_configuration(file=toml('upload_bytes_max = "1.5 GiB"')).settings.upload_bytes_max == 3 << 29


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S4_PORT", "S4_STORE_URL", "S4_ADMIN_API_KEY", "S4_ADMIN_API_KEY_FILE"):
        monkeypatch.setenv(name, "")
    loaded = read_configuration()
    assert loaded.sources == {}
    assert loaded.settings.admin_api_key is None


def test_no_file_is_read_that_nobody_named(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml("port = 1").parent)
    assert read_configuration().settings.port == 8000


# -- what is wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("portt = 1", "{file} names a setting that does not exist: portt. Did you mean port?"),
        ("[store]\nurls = 1", "{file} names a setting that does not exist: store_urls. Did you mean store_url?"),
        ("walrus = 1", "{file} names a setting that does not exist: walrus."),
        ("PORT = 1", "{file} names a setting that does not exist: PORT. Did you mean port?"),
        ('port = "many"', "port in {file}: must be a valid integer, unable to parse string as an integer."),
        ("port = true", "port in {file} must not be true or false."),
        ("port = 70000", "port in {file}: must be less than or equal to 65535."),
        ("host = 5", "host in {file}: must be a valid string."),
        ("host = 2026-11-25", "host in {file}: must be a valid string."),
        ('environment = "staging"', "environment in {file}: must be 'embedded' or 'production'."),
        ('log_level = "loud"', "log_level in {file}: must be debug, info, warning or error."),
        ('store_url = "gs:"', "store_url in {file}: must be file:///path, s3://bucket/prefix, gs://bucket/prefix or"),
        ('[store]\nurl = "gs://b"\naccess_key_id = "k"\nsecret_access_key = "s"',
         "Store_access_key_id is S3's: for gs:// set store_google_key_file,"),
        ('[store]\nurl = "s3://b"\nendpoint = "https://storage.googleapis.com"',
         "Conditional writes are not to be trusted at the S3-compatible address of Google's storage: say gs://"),
        (
            'database_url = "postgresql://u:p@h:abc/d"',
            "database_url in {file}: must have a number from 0 to 65535 as its port.",
        ),
        ('database_url = "mysql://h/d"', "database_url in {file}: must begin with postgresql:// or sqlite:///."),
        ('store_url = "memory://"\n[store]\nurl = "memory://"',
         "store_url stands twice in {file}: once in a table and once outside of it."),
        ('store_access_key_id = "key"', "Store_access_key_id and store_secret_access_key belong together: set both,"),
        ("chunk_overlap_tokens = 200", "Chunk_overlap_tokens must be at most half of chunk_tokens_max."),
        ('admin_api_key = ""', "admin_api_key in {file} is empty: leave it out, or say what it is."),
        ("admin_api_key_file = 7", "admin_api_key_file in {file} must be the path of a file."),
        ("host_file = 'x'", "{file} names a setting that does not exist: host_file."),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_file_is_said_with_file_and_key(toml: Any, text: str, said: str) -> None:
    file = toml(text)
    (sentence,) = problems(file=file)
    assert sentence.startswith(said.format(file=file).removesuffix("."))


def test_a_file_that_is_missing_unreadable_or_no_toml_is_said_to_be_so(toml: Any, tmp_path: Path) -> None:
    assert problems(file=tmp_path / "none") == [f"The configuration file {tmp_path / 'none'} does not exist."]
    assert problems(file=tmp_path) == [f"The configuration file {tmp_path} cannot be read: Is a directory."]
    (sentence,) = problems(file=toml("port: 8000"))
    assert sentence.startswith(f"The configuration file {tmp_path / 's4.toml'} is not TOML: ")
    assert "line 1" in sentence


def test_all_problems_are_told_at_once(toml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S4_DRAIN_SECONDS", "-1")
    found = problems(file=toml('portt = 1\nstore_retries_max = "few"'), port=-3)
    assert [sentence.partition(":")[0] for sentence in found] == [
        f"{toml('')} names a setting that does not exist",
        f"store_retries_max in {toml('')}",
        "--port",
        "S4_DRAIN_SECONDS",
    ]


# -- secrets


@pytest.mark.parametrize("name", sorted(secret_settings()))
def test_every_secret_may_stand_in_a_file_of_its_own(
    name: str, toml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = secret_value(name)
    (tmp_path / "secret").write_text(value + "\n")
    other_half = {BELONG_TOGETHER[name]: "given"} if name in BELONG_TOGETHER else {}

    by_file = read_configuration(**other_half, file=toml(f'{name}_file = "{tmp_path}/secret"'))
    assert revealed(by_file, name) == value
    assert by_file.sources[name].place == f"{name}_file in {tmp_path / 's4.toml'}"

    monkeypatch.setenv(f"S4_{name.upper()}_FILE", f"{tmp_path}/secret")
    by_variable = read_configuration(**other_half)
    assert revealed(by_variable, name) == value
    assert by_variable.sources[name].place == f"S4_{name.upper()}_FILE"
    assert by_variable.unknown == {}


def test_the_secrets_are_the_ones_that_an_operator_would_name() -> None:
    assert secret_settings() >= {
        "admin_api_key",
        "database_url",
        "embedding_api_key",
        "metrics_token",
        "store_access_key_id",
        "store_secret_access_key",
    }


@pytest.mark.parametrize(("content", "read"), [("a b\r\n", "a b"), ("a\n\n", "a\n"), (" a ", " a ")])
def test_only_the_last_newline_of_a_secret_is_not_part_of_it(
    content: str, read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    monkeypatch.setenv("S4_METRICS_TOKEN_FILE", str(tmp_path / "secret"))
    assert revealed(read_configuration(), "metrics_token") == read


def test_a_secret_and_its_file_in_one_place_contradict_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(HUSH)
    monkeypatch.setenv("S4_METRICS_TOKEN", "x")
    monkeypatch.setenv("S4_METRICS_TOKEN_FILE", str(tmp_path / "secret"))
    assert problems() == ["Both S4_METRICS_TOKEN and S4_METRICS_TOKEN_FILE are set: keep one of them."]


def test_a_secret_in_the_environment_wins_over_a_file_that_the_toml_names(
    toml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from-the-file")
    monkeypatch.setenv("S4_METRICS_TOKEN", HUSH)
    assert revealed(read_configuration(file=toml(f'metrics_token_file = "{tmp_path}/secret"')), "metrics_token") == HUSH


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot be read: No such file or directory."),
        (lambda path: path.mkdir(), "cannot be read: Is a directory."),
        (lambda path: path.write_bytes(b"\xff\xfe"), "does not hold text in UTF-8."),
        (lambda path: path.write_bytes(bytes(100_000)), "is too large to hold a secret."),
    ],
)
def test_a_secret_that_cannot_be_read_is_said_to_be_so(
    make: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    make(path)
    monkeypatch.setenv("S4_DATABASE_URL_FILE", str(path))
    assert problems() == [f"S4_DATABASE_URL_FILE: {path} {said}"]


def test_an_empty_file_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("\n")
    monkeypatch.setenv("S4_ADMIN_API_KEY_FILE", str(tmp_path / "secret"))
    assert problems() == ["S4_ADMIN_API_KEY_FILE is empty: leave it out, or say what it is."]


def test_no_sentence_tells_a_secret(toml: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("S4_DATABASE_URL", f"mysql://s4:{HUSH}@db/s4")
    monkeypatch.setenv("S4_STORE_SECRET_ACCES_KEY", HUSH)
    monkeypatch.setenv("S4_ENVIRONMENT", "production")
    monkeypatch.setenv("S4_ADMIN_API_KEY", "hush-hush")
    monkeypatch.setenv("S4_STORE_URL", f"s3://key:{HUSH}@bucket")
    file = toml(f'metrics_token = ["{HUSH}"]\nembedding_api_kye = "{HUSH}"')
    for command in ("show", "check", "check --connect --json"):
        assert run(["config", *command.split(), "--config", str(file)]) == 1
    told = "".join(capfd.readouterr())
    assert "metrics_token" in told
    assert "hush" not in told


# -- variables that nobody knows


def test_unknown_variables_are_told_with_the_nearest_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("S4_PROT", "S4_ADMIN_API_KEY_FLIE", "S4_ZEBRA", "S4_HOST_FILE", "S4_TENANT_KEY"):
        monkeypatch.setenv(name, "1")
    assert read_configuration(of_the_client=["S4_TENANT_KEY"]).unknown == {
        "S4_ADMIN_API_KEY_FLIE": "S4_ADMIN_API_KEY_FILE",
        "S4_HOST_FILE": "S4_HOST",
        "S4_PROT": "S4_PORT",
        "S4_ZEBRA": None,
    }


def test_the_check_knows_every_variable_that_some_command_takes(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    taken = set(variables(typer.main.get_command(build())))
    assert {"S4_URL", "S4_TENANT_KEY", "S4_CONFIG"} <= taken
    for name in taken - {"S4_CONFIG", "S4_DATA_DIR", "S4_CA_FILE"}:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("S4_TENANT_KYE", "1")
    assert run(["config", "check"]) == 1
    assert (
        capfd.readouterr().err == "S4_TENANT_KYE is set, and S4 knows no such variable. Did you mean S4_TENANT_KEY?\n"
    )


# -- the commands


def test_show_tells_every_setting_with_its_source_and_hides_what_is_secret(
    toml: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("S4_DATABASE_URL", DATABASE)
    monkeypatch.setenv("S4_EMBEDDING_BASE_URL", f"https://me:{HUSH}@proxy/v1")
    file = toml('[admin]\napi_key = "hush"\n')

    assert run(["config", "show", "--json", "--config", str(file), "--data-dir", "/srv/s4"]) == 0

    told = capfd.readouterr().out
    shown = {row["name"]: row for row in json.loads(told)["settings"]}
    assert shown.keys() == Settings.model_fields.keys()
    assert shown["database_url"] == {
        "name": "database_url", "value": "********", "source": "environment", "place": "S4_DATABASE_URL",
    }  # fmt: skip
    assert shown["admin_api_key"]["value"] == "********"
    assert shown["metrics_token"] == {"name": "metrics_token", "value": None, "source": "default", "place": None}
    assert (shown["data_dir"]["value"], shown["data_dir"]["source"]) == ("/srv/s4", "flag")
    assert (shown["store_url"]["value"], shown["store_url"]["source"]) == ("file:///srv/s4/objects", "default")
    assert "hush" not in told


def test_show_takes_the_file_from_the_environment_and_leaves_out_defaults_on_request(
    toml: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("S4_CONFIG", str(toml("port = 9000")))
    monkeypatch.setenv("S4_HOST", "0.0.0.0")
    assert run(["config", "show", "--changed"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "host\t0.0.0.0\tenvironment\tS4_HOST",
        f"port\t9000\tfile\tport in {toml('')}",
    ]


def test_check_ends_with_0_1_or_2_and_makes_nothing(toml: Any, tmp_path: Path, capfd: Any) -> None:
    data_dir = tmp_path / "data"
    assert run(["config", "check", "--data-dir", str(data_dir)]) == 0
    assert run(["config", "check", "--connect", "--data-dir", str(data_dir), "--config", str(toml(DETERMINISTIC))]) == 0
    assert run(["config", "check", "--config", str(toml("port = -1"))]) == 1
    assert run(["config", "check", "--conect"]) == 2
    assert not data_dir.exists()
    assert "The configuration works." in capfd.readouterr().out


DETERMINISTIC = '[embedding]\nprovider = "deterministic"\n'


# -- what follows from the machine


def test_what_follows_from_the_machine_is_shown_as_such_and_counts_as_unchanged(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("S4_MEMORY_BYTES", "1 GiB")
    monkeypatch.setenv("S4_WORKER_CONCURRENCY", "8")
    assert run(["config", "show", "--json"]) == 0
    shown = {row["name"]: row for row in json.loads(capfd.readouterr().out)["settings"]}
    derived = {name for name, row in shown.items() if row["source"] == "machine"}
    assert derived >= {"processors", "embedding_threads", "extraction_memory_bytes", "index_cache_bytes"}
    assert "processors (" in shown["index_cache_bytes"]["place"]
    assert shown["index_cache_bytes"]["value"] < Settings().index_cache_bytes
    assert (shown["worker_concurrency"]["value"], shown["worker_concurrency"]["source"]) == (8, "environment")

    assert run(["config", "show", "--changed"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["memory_bytes", "worker_concurrency"]


def test_what_cannot_fit_is_a_warning_of_the_check_and_no_fault(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("S4_MEMORY_BYTES", "2 GiB")
    monkeypatch.setenv("S4_EXTRACTION_MEMORY_BYTES", "2 GiB")
    assert run(["config", "check"]) == 0
    told = capfd.readouterr()
    assert told.out == "The configuration works.\n"
    assert told.err.startswith("S4 may come to need ")
    assert "S4_EXTRACTION_MEMORY_BYTES" in told.err
    assert run(["config", "check", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["warnings"]) == 1


# -- certificates


def test_certificates_that_do_not_work_are_told_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    (tmp_path / "nonsense.pem").write_text("no certificate")
    monkeypatch.setenv("S4_CA_FILE", str(tmp_path / "nonsense.pem"))
    monkeypatch.setenv("S4_TLS_CERT", str(tmp_path / "none.pem"))
    monkeypatch.setenv("S4_TLS_KEY", str(tmp_path / "none.key"))
    assert run(["config", "check"]) == 1
    assert capfd.readouterr().err.splitlines() == [
        f"S4_CA_FILE: {tmp_path}/nonsense.pem holds no certificate in PEM form.",
        f"S4_TLS_CERT: {tmp_path}/none.pem cannot be read: No such file or directory.",
    ]
    monkeypatch.delenv("S4_TLS_KEY")
    (problem,) = problems()
    assert problem == "Tls_cert and tls_key belong together: set both, or neither to speak plain HTTP."


# -- handing on


def test_a_child_gets_exactly_what_its_parent_runs_with(
    toml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in secret_settings():
        monkeypatch.setenv(f"S4_{name.upper()}", secret_value(name))
    settings = load_settings(file=toml('upload_bytes_max = "1 GiB"\ndrain_seconds = 1.5'), data_dir=tmp_path / "ö\n")
    line = handed_on(settings)
    assert line.count(b"\n") == 1
    assert taken_over(line) == settings


# -- the key that secrets are sealed under


def test_embedded_mode_mints_a_secret_key_once_that_only_its_owner_reads(tmp_path: Path) -> None:
    first, second = load_settings(data_dir=tmp_path), load_settings(data_dir=tmp_path)
    assert first.secret_key is not None
    assert first.secret_key == second.secret_key
    assert len(first.secret_key.get_secret_value()) >= 32
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert taken_over(handed_on(first)).secret_key == first.secret_key


@pytest.mark.parametrize(
    ("key", "complaint"),
    [(None, "S4_SECRET_KEY is missing"), ("a" * 40, "32 random characters"), ("short", "32 random characters")],
)
def test_production_refuses_a_missing_or_weak_secret_key(
    monkeypatch: pytest.MonkeyPatch, key: str | None, complaint: str
) -> None:
    monkeypatch.setenv("S4_ENVIRONMENT", "production")
    monkeypatch.setenv("S4_ADMIN_API_KEY", HUSH)
    if key is not None:
        monkeypatch.setenv("S4_SECRET_KEY", key)
    (problem,) = problems()
    assert complaint in problem
    assert key is None or key not in problem


def test_networks_that_webhooks_may_reach_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S4_WEBHOOKS_ALLOWED_NETWORKS", "10.1.0.0/16, fd00:1::/32")
    assert read_configuration().settings.webhooks_allowed_networks
    monkeypatch.setenv("S4_WEBHOOKS_ALLOWED_NETWORKS", "10.1.0.1/16")
    (problem,) = problems()
    assert "10.1.0.0/16" in problem
