"""Mixed load on a bounded set of documents: what tenants do all day, mistakes included, for as long as wanted.

Contents come from a finite stock, so that in time every text has been seen, and documents from a finite number of
keys and recent uploads, so that what is there stays about the same.
"""

import json
import random
import secrets
import threading
from collections import Counter, deque
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from testing import docx, pdf, pptx, zipped

KEYS = 25  # of each tenant
POSTED = 10  # of each tenant and thread: the oldest goes when a new one comes
STOCK = 8  # texts of each format
TIMEOUT_SECONDS = 120.0
PACE_SECONDS = 0.5  # between calls: a rate that rises when the machine has time would look like growth
_WORDS = ("valve", "pump", "pressure", "report", "tank", "check", "meter", "filter", "season", "sensor", "line", "seal")
_FORMATS = ("txt", "md", "html", "csv", "json", "pdf", "docx", "pptx", "broken.pdf", "junk.zip", "blank.txt")
_BOUNDARY = "mixture-71d0"


def file_of(name: str, number: int) -> bytes:
    """The same name and number make the same bytes."""
    chosen = random.Random(f"{name} {number}")
    lines = [" ".join(chosen.choices(_WORDS, k=9)) for _ in range(chosen.randint(3, 40))]
    text = "\n".join(lines)
    match name:
        case "html":
            return f"<html><body><h1>{lines[0]}</h1><p>{text}</p></body></html>".encode()
        case "csv":
            return "\n".join(",".join(line.split()) for line in lines).encode()
        case "json":
            return json.dumps({"lines": lines}).encode()
        case "pdf":
            return pdf([lines[start : start + 10] for start in range(0, len(lines), 10)])
        case "docx":
            return docx([(0, line) for line in lines])
        case "pptx":
            return pptx([lines[:3], lines[3:6]])
        case "broken.pdf":
            return pdf([lines])[:200]
        case "junk.zip":
            return zipped({"a": text.encode()})
        case "blank.txt":
            return b" \n" * number
    return text.encode()


class Mixture(threading.Thread):
    """One caller of one tenant. `done` counts calls by name and status; `wrong` holds what should not have been."""

    def __init__(self, url: str, key: str, seed: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self._netloc = urlsplit(url).netloc
        self._headers = {"X-Tenant-Key": key}
        self._seed, self._turn = seed, 0
        self._random = random.Random(seed)
        self._ended = ended
        self._posted: deque[str] = deque()
        self._connection = HTTPConnection(self._netloc, timeout=TIMEOUT_SECONDS)
        self.done: Counter[str] = Counter()
        self.wrong: deque[str] = deque(maxlen=20)

    def run(self) -> None:
        calls = (
            (self._put, 20),
            (self._post, 10),
            (self._delete, 4),
            (self._search, 25),
            (self._download, 10),
            (self._list, 8),
            (self._wait, 4),
            (self._patch, 4),
            (self._refused, 10),
            (self._leave, 2),
        )
        chosen, weights = zip(*calls, strict=True)
        while not self._ended.wait(PACE_SECONDS):
            try:
                self._random.choices(chosen, weights)[0]()
            except (OSError, HTTPException) as error:
                self._note("broken", f"{type(error).__name__}: {error}")
                self._connection.close()

    # -- what is called

    def _put(self) -> None:
        name, content = self._file()
        metadata = json.dumps({"category": self._random.choice(["a", "b", "c"]), "number": self._random.randrange(9)})
        self._send(
            "PUT", self._by_key(), content, {"Content-Type": "", "X-S4-Metadata": metadata, "X-S4-Filename": name}
        )

    def _post(self) -> None:
        name, content = self._file()
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="key"\r\n\r\n{self._free_key()}\r\n'
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        )
        body = head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Idempotency-Key": secrets.token_hex(8),
        }
        answer = self._send("POST", "/documents", body, headers)
        if answer:
            self._posted.append(json.loads(answer)["document_id"])
        if len(self._posted) > POSTED:
            self._send("DELETE", f"/documents/{self._posted.popleft()}")

    def _delete(self) -> None:
        self._send("DELETE", self._by_key(), expected=(204, 404))

    def _search(self) -> None:
        query = {
            "query": " ".join(self._random.choices(_WORDS, k=3)),
            "mode": self._random.choice(["hybrid", "semantic", "keyword"]),
        }
        if self._random.random() < 0.3:
            query["filters"] = {"field": "number", "op": "gte", "value": self._random.randrange(9)}  # type: ignore[assignment]
        self._send("POST", "/search", json.dumps(query).encode(), {"Content-Type": "application/json"})

    def _download(self) -> None:
        if self._posted:
            path = f"/documents/{self._random.choice(self._posted)}/download"
            part = {"Range": "bytes=0-99"} if self._random.random() < 0.5 else {}
            self._send("GET", path, None, part, expected=(200, 206))

    def _list(self) -> None:
        self._send("GET", f"/documents?limit=20&metadata.number={self._random.randrange(9)}")

    def _wait(self) -> None:
        if self._posted:
            self._send("GET", f"/documents/{self._posted[-1]}?wait=5")

    def _patch(self) -> None:
        if self._posted:
            body = json.dumps({"number": self._random.randrange(9)}).encode()
            path = f"/documents/{self._random.choice(self._posted)}/metadata"
            self._send("PATCH", path, body, {"Content-Type": "application/json"})

    def _refused(self) -> None:
        unknown = f"/documents/doc_{secrets.token_hex(13)}"
        method, path, body, status = self._random.choice(
            [
                ("GET", unknown, None, 404),
                ("GET", f"/{secrets.token_hex(4)}", None, 404),
                ("POST", "/search", b"{", 422),
                ("DELETE", "/search", None, 405),
                ("GET", "/admin/tenants", None, 401),
            ]
        )
        self._send(method, path, body, {"Content-Type": "application/json"} if body else {}, expected=(status,))

    def _leave(self) -> None:
        """An upload whose caller goes away in the middle."""
        connection = HTTPConnection(self._netloc, timeout=TIMEOUT_SECONDS)
        connection.putrequest("PUT", f"/api/v1{self._by_key()}")
        for name, value in (self._headers | {"Content-Length": "100000"}).items():
            connection.putheader(name, value)
        connection.endheaders(b"x" * 5000)
        connection.close()
        self.done["leave"] += 1

    # -- how

    def _file(self) -> tuple[str, bytes]:
        kind, number = self._random.choice(_FORMATS), self._random.randrange(STOCK)
        return f"file-{number}.{kind}", file_of(kind, number)

    def _free_key(self) -> str:
        """In turn; by the time that it comes round again, its document is deleted. Ids that never come back would leave
        tombstones, which S4 keeps."""
        self._turn += 1
        return f"posted-{self._seed}-{self._turn % (2 * POSTED)}"

    def _by_key(self) -> str:
        return f"/documents/by-key/slot-{self._random.randrange(KEYS)}"

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        expected: tuple[int, ...] = (200, 201, 204),
    ) -> bytes:
        """The answer's body; nothing where it was none of `expected`."""
        self._connection.request(method, f"/api/v1{path}", body, self._headers | (headers or {}))
        answer = self._connection.getresponse()
        content = answer.read()
        self.done[f"{method} {answer.status}"] += 1
        if answer.status in expected:
            return content
        self._note(f"{method} {path}: {answer.status}", content[:200].decode(errors="replace"))
        return b""

    def _note(self, what: str, why: str) -> None:
        self.done["wrong"] += 1
        self.wrong.append(f"{what} {why}")
