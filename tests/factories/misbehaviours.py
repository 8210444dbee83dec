"""Everything that a provider, or what stands before it, is known to do wrong. Each is a fault for the proxy."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np

from tests.fault_proxy import Answer, Fault, Mode

Row = dict[str, Any]
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Misbehaviour:
    """`mode` and its arguments. `harmless`: the answer is good all the same. `slow`: only patience ends it. `alike`:
    much like another one, so it is left to `make faults`."""

    mode: Mode
    answer: Callable[[], Answer] | None = None
    rewrite: Callable[[Answer], Answer] | None = None
    after_bytes: int = 0
    delay_seconds: float = 0.0
    harmless: bool = False
    slow: bool = False
    alike: bool = False

    def fault(self, *, skip: int = 0, count: int | None = None) -> Fault:
        return Fault(
            self.mode,
            path="/embeddings",
            answer=self.answer,
            rewrite=self.rewrite,
            after_bytes=self.after_bytes,
            delay_seconds=self.delay_seconds,
            skip=skip,
            count=count,
        )


def refused(
    status: int, *, code: str | None = None, headers: Callable[[], dict[str, str]] = dict, alike: bool = False
) -> Misbehaviour:
    body = json.dumps({"error": {"message": "injected", "type": "injected", "code": code}}).encode()
    return Misbehaviour(Mode.ANSWER, answer=lambda: Answer(status, JSON | headers(), body), alike=alike)


def in_a_second() -> dict[str, str]:
    # HTTP dates have whole seconds: two ahead are one to two.
    return {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)}


def vectors(change: Callable[[np.ndarray[Any, Any]], object], *, alike: bool = False) -> Misbehaviour:
    """Something happens to the numbers of the first row, which travel in base64."""

    def changed(rows: list[Row]) -> list[Row]:
        numbers = np.frombuffer(base64.b64decode(rows[0]["embedding"]), dtype="<f4").copy()
        made = change(numbers)
        numbers = made if isinstance(made, np.ndarray) else numbers
        return [{**rows[0], "embedding": base64.b64encode(numbers.tobytes()).decode()}, *rows[1:]]

    return rows(changed, alike=alike)


def rows(change: Callable[[list[Row]], list[Row]], *, harmless: bool = False, alike: bool = False) -> Misbehaviour:
    def rewrite(answer: Answer) -> Answer:
        body = json.loads(answer.body)
        return Answer(answer.status, JSON, json.dumps({**body, "data": change(body["data"])}).encode())

    return Misbehaviour(Mode.REWRITE, rewrite=rewrite, harmless=harmless, alike=alike)


def bodies(
    change: Callable[[bytes], bytes], content_type: str = "application/json", *, alike: bool = False
) -> Misbehaviour:
    return Misbehaviour(
        Mode.REWRITE,
        rewrite=lambda answer: Answer(200, {"Content-Type": content_type}, change(answer.body)),
        alike=alike,
    )


def shuffled(rows: list[Row]) -> list[Row]:
    return rows[::-1]


def numbered(number: Callable[[int], dict[str, Any]]) -> Callable[[list[Row]], list[Row]]:
    """In another order, and with other numbers than before."""

    def change(rows: list[Row]) -> list[Row]:
        bare = [{name: value for name, value in row.items() if name != "index"} for row in shuffled(rows)]
        return [{**row, **number(position)} for position, row in enumerate(bare)]

    return change


MISBEHAVIOURS: dict[str, Misbehaviour] = {
    "429 with seconds": refused(429, headers=lambda: {"Retry-After": "1"}),
    "429 with a date": refused(429, headers=in_a_second),
    "429 with neither": refused(429, alike=True),
    "500": refused(500),
    "503 of a proxy": Misbehaviour(
        Mode.ANSWER, answer=lambda: Answer(503, {"Content-Type": "text/html"}, b"<html>Bad day</html>"), alike=True
    ),
    "no credit": refused(429, code="insufficient_quota"),
    "401": refused(401, code="invalid_api_key"),
    "403": refused(403, alike=True),
    "404": refused(404, code="model_not_found", alike=True),
    "413": refused(413),
    "301": refused(301, headers=lambda: {"Location": "http://127.0.0.1:9/v1/embeddings"}, alike=True),
    "307": refused(307, headers=lambda: {"Location": "http://127.0.0.1:9/v1/embeddings"}),
    "another dimension": rows(
        lambda rows: [{**row, "embedding": base64.b64encode(b"\0\0\x80\x3f" * 8).decode()} for row in rows]
    ),
    "NaN": vectors(lambda numbers: numbers.__setitem__(7, np.nan)),
    "infinity": vectors(lambda numbers: numbers.__setitem__(7, np.inf), alike=True),
    "null": rows(lambda rows: [{**rows[0], "embedding": None}, *rows[1:]]),
    "a zero vector": vectors(lambda numbers: np.zeros_like(numbers)),
    "a cut vector": vectors(lambda numbers: numbers[:-1], alike=True),
    "a row too few": rows(lambda rows: rows[:-1]),
    "a row too many": rows(lambda rows: [*rows, {**rows[-1], "index": len(rows)}], alike=True),
    "another order, numbered": rows(shuffled, harmless=True),
    "another order, all numbered zero": rows(numbered(lambda _: {"index": 0})),
    "another order, not numbered": rows(numbered(lambda _: {}), alike=True),
    "a number twice": rows(lambda rows: [{**row, "index": max(row["index"], 1)} for row in rows]),
    "HTML": bodies(lambda _: b"<html><body>Please log in</body></html>", "text/html"),
    "HTML called JSON": bodies(lambda _: b"<html><body>Please log in</body></html>", alike=True),
    "an error inside 200": bodies(lambda _: b'{"error": {"message": "overloaded", "code": null}}'),
    "cut JSON": bodies(lambda body: body[: len(body) // 2]),
    "nothing": bodies(lambda _: b"", alike=True),
    "a huge answer": bodies(lambda body: body + b" " * 32 * 1024 * 1024),
    "a reset": Misbehaviour(Mode.RESET),
    "a lost answer": Misbehaviour(Mode.LOST_REPLY),
    "a cut answer": Misbehaviour(Mode.DROP_DOWNLOAD, after_bytes=1000),
    "a hang": Misbehaviour(Mode.HANG, slow=True, alike=True),
    "an answer that never comes": Misbehaviour(Mode.HANG_REPLY, slow=True),
    "an answer that stops": Misbehaviour(Mode.STALL_DOWNLOAD, after_bytes=1000, slow=True, alike=True),
    "an answer that drips": Misbehaviour(Mode.DRIP_DOWNLOAD, delay_seconds=0.05, slow=True),
}
