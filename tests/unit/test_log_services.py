"""What is shipped for services of logs and cannot be run here: it parses, has only options that exist, and fits S4's
lines. Executed ones: tests/ops/test_log_collectors.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import EVENTS
from tests.factories.events import LOGGING, every_event

CLOUDWATCH_EVENT_BYTES_MAX = 1_048_576 - 26  # PutLogEvents: 1 MB with 26 bytes of its own, 256 KB until 2025
CLOUDWATCH_EVENT_BYTES_OLD = 262_144 - 26
CLOUDWATCH_RETENTIONS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922}
# Of Fluent Bit's manual: the options of the plugins that are used.
FLUENT_BIT = {
    "tail": {"tag", "path", "parser", "db", "mem_buf_limit", "buffer_max_size"},
    "es": {"match", "host", "port", "tls", "index", "write_operation", "suppress_type_name", "http_api_key",
           "retry_limit"},
    "splunk": {"match", "host", "port", "tls", "splunk_token", "splunk_send_raw", "event_source", "event_sourcetype",
               "retry_limit"},
}  # fmt: skip


def loaded(path: str) -> Any:
    text = (LOGGING / path).read_text()
    return json.loads(text) if path.endswith(".json") else yaml.safe_load(text)


def test_the_page_names_every_file_and_says_what_was_done_with_it() -> None:
    page = (LOGGING / "README.md").read_text()
    for path in LOGGING.rglob("*"):
        if path.is_file() and path.name != "README.md":
            name = str(path.relative_to(LOGGING))
            (row,) = [row for row in page.splitlines() if row.startswith("|") and f"`{name}`" in row]
            assert re.search(r"executed|parsed only", row), name


@pytest.mark.parametrize(
    ("service", "output", "time_key", "log_format"),
    [("elastic", "es", "@timestamp", LogFormat.ECS), ("splunk", "splunk", "timestamp", LogFormat.JSON)],
)
def test_fluent_bits_options_exist_and_its_parser_finds_the_time(
    service: str, output: str, time_key: str, log_format: LogFormat
) -> None:
    config = loaded(f"fluent-bit/{service}.yaml")
    assert set(config) <= {"service", "parsers", "pipeline"}
    (parser,), (source,), (target,) = config["parsers"], config["pipeline"]["inputs"], config["pipeline"]["outputs"]
    assert (source.pop("name"), target.pop("name")) == ("tail", output)
    assert set(source) <= FLUENT_BIT["tail"]
    assert set(target) <= FLUENT_BIT[output]
    assert source["parser"] == parser["name"]
    assert source["tag"] == target["match"]
    assert (parser["format"], parser["time_key"]) == ("json", time_key)
    assert f"S4_LOG_FORMAT={log_format}" in (LOGGING / f"fluent-bit/{service}.yaml").read_text()
    form = parser["time_format"].replace("%L", "%f")  # its own name for the fraction
    assert all(is_time(json.loads(line)[time_key], form) for line in every_event(log_format).values())


def is_time(text: str, form: str) -> bool:
    from datetime import datetime

    return datetime.strptime(text, form).year >= 2026  # noqa: DTZ007  # the Z is in the form


def test_datadogs_agent_gets_a_file_to_read() -> None:
    (source,) = loaded("datadog/s4.yaml")["logs"]
    assert set(source) <= {"type", "path", "source", "service", "encoding", "tags", "exclude_paths", "start_position"}
    assert (source["type"], source["source"]) == ("file", "s4")


def test_cloudwatchs_agent_has_what_its_schema_asks_for_and_lines_fit_the_service() -> None:
    config = loaded("cloudwatch/agent.json")
    (source,) = config["logs"]["logs_collected"]["files"]["collect_list"]
    assert set(source) <= {
        "file_path", "log_group_name", "log_group_class", "log_stream_name", "retention_in_days", "filters", "timezone",
        "timestamp_format", "multi_line_start_pattern", "encoding", "auto_removal", "publish_multi_logs", "blacklist",
    }  # fmt: skip
    assert source["retention_in_days"] in CLOUDWATCH_RETENTIONS
    assert source["timezone"] in {"UTC", "Local"}
    for line in every_event(LogFormat.JSON).values():
        assert is_time(json.loads(line)["timestamp"].partition(".")[0], source["timestamp_format"])
        assert len(line.encode()) <= CLOUDWATCH_EVENT_BYTES_OLD < CLOUDWATCH_EVENT_BYTES_MAX


def test_googles_agent_moves_fields_that_a_line_has_and_drops_none_that_exists() -> None:
    logging = loaded("google/ops-agent.yaml")["logging"]
    pipeline = logging["service"]["pipelines"]["s4"]
    assert set(pipeline["receivers"]) == set(logging["receivers"])
    assert set(pipeline["processors"]) == set(logging["processors"])
    request = json.loads(every_event(LogFormat.GOOGLE)["http.request_finished"])
    for name, move in logging["processors"]["moved"]["fields"].items():
        (source,) = {move.get("move_from"), move.get("copy_from")} - {None}
        value: Any = request
        for part in source.removeprefix("jsonPayload.").split("."):
            value = value[part]
        assert value is not None
        assert name.startswith(("severity", "httpRequest.", "labels."))


def test_elasticsearch_has_a_data_stream_for_what_the_collectors_write() -> None:
    template = loaded("elastic/index-template.json")
    assert "data_stream" in template
    (pattern,) = template["index_patterns"]
    stream = "logs-s4-default"
    assert Path(stream).match(pattern)
    assert loaded("fluent-bit/elastic.yaml")["pipeline"]["outputs"][0]["index"] == stream
    assert f"/{stream}/_bulk" in (LOGGING / "syslog-ng/elastic.conf").read_text()
    details = template["template"]["mappings"]["properties"]["s4"]["properties"]["details"]
    assert details["dynamic"] is True
    assert len(EVENTS) > 100
