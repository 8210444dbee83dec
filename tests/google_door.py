"""Google's XML API in front of an emulator that speaks the JSON API only: the door by which obstore and LanceDB come.

fake-gcs-server keeps objects and generations and decides preconditions, atomically, in its JSON API. Its XML API reads
and deletes objects; it refuses uploads, has no uploads in parts, lists everything at once whatever is asked, answers
500 for a bucket that is missing, and lets in everybody. Here each request of the XML API becomes one of the JSON API,
with the errors that Google documents:

- `x-goog-if-generation-match` becomes `ifGenerationMatch` of an upload of the kind `multipart`; those of the kind
  `media` pass over it.
- The parts of an upload lie here until they are joined. A part other than the last has 5 MiB at least.
- Bearers are verified: tokens that a service account signed with its key, and those that the metadata service gives
  out, which is at the same port. An account named `without-<permission>` lacks that permission.

A program of its own, so that it serves also those who do not run an event loop. `tests/servers.py` starts it.
"""

import base64
import json
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx
import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

_PAGE_MAX = 1000
_PART_BYTES_MIN = 5 * 1024 * 1024
_SKEW_SECONDS_MAX = 300
_METADATA = "/computeMetadata/v1/instance/service-accounts/default"
_MACHINE = "machine@s4-tests.iam.gserviceaccount.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_KEPT_HEADERS = ("content-length", "content-range", "content-type", "etag", "last-modified", "x-goog-generation")

GET, LIST, CREATE, DELETE = (f"storage.objects.{action}" for action in ("get", "list", "create", "delete"))
BEGIN_PARTS, ABORT_PARTS = (f"storage.multipartUploads.{action}" for action in ("create", "abort"))


class Refused(Exception):
    """An answer of the XML API that is an error."""

    def __init__(self, status: int, code: str, details: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.details = details


@dataclass(slots=True)
class PartialUpload:
    bucket: str
    name: str
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """ETag and bytes, by number."""


class Door:
    """`emulator`: its URL. `public_key`: that of every service account."""

    def __init__(self, emulator: str, public_key: RSAPublicKey) -> None:
        self._emulator = httpx.AsyncClient(base_url=emulator, timeout=60, limits=httpx.Limits(max_connections=200))
        self._public_key = public_key
        self._machines_token = f"ya29.{secrets.token_hex(16)}"
        self._uploads: dict[str, PartialUpload] = {}

    def app(self) -> Starlette:
        methods = ["GET", "PUT", "POST", "DELETE"]  # HEAD comes with GET
        return Starlette(
            routes=[
                Route(f"{_METADATA}/{{what}}", self._metadata),
                Route("/", lambda _: Response(status_code=400)),
                Route("/{bucket}", self._told(self._bucket)),
                Route("/{bucket}/{name:path}", self._told(self._object), methods=methods),
            ]
        )

    # -- who asks

    async def _metadata(self, request: Request) -> Response:
        if request.headers.get("Metadata-Flavor") != "Google":
            return Response(status_code=403)
        if request.path_params["what"] == "email":
            return PlainTextResponse(_MACHINE)
        return JSONResponse({"access_token": self._machines_token, "expires_in": 3600, "token_type": "Bearer"})

    def _account(self, request: Request) -> str:
        _, _, bearer = request.headers.get("Authorization", "").partition("Bearer ")
        if bearer == self._machines_token:
            return _MACHINE
        signed, _, signature = bearer.rpartition(".")
        try:
            claims = json.loads(_unpadded(signed.partition(".")[2]))
            self._public_key.verify(_unpadded(signature), signed.encode(), PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature) as error:
            raise Refused(401, "AuthenticationRequired", "Authentication required.") from error
        now = time.time()
        if not claims["iat"] - _SKEW_SECONDS_MAX <= now < claims["exp"] or claims["scope"] != _SCOPE:
            raise Refused(401, "AuthenticationRequired", "The token is not of this time or scope.")
        return str(claims["iss"])

    def _allowed(self, request: Request, *permissions: str) -> None:
        account = self._account(request)
        for permission in permissions:
            if account.startswith(f"without-{permission}@"):
                raise Refused(
                    403,
                    "AccessDenied",
                    f"{account} does not have {permission} access to the Google Cloud Storage object. Permission "
                    f"'{permission}' denied on resource (or it may not exist).",
                )

    # -- requests

    def _told(self, answer: Any) -> Any:
        async def told(request: Request) -> Response:
            try:
                response: Response = await answer(request, **request.path_params)
            except Refused as refused:
                body = (
                    f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{refused.code}</Code>"
                    f"<Message>{refused.code}</Message><Details>{escape(refused.details)}</Details></Error>"
                )
                return Response(b"" if request.method == "HEAD" else body, refused.status, media_type="application/xml")
            return response

        return told

    async def _bucket(self, request: Request, bucket: str) -> Response:
        self._allowed(request, LIST)
        asked = request.query_params
        if asked.get("list-type") != "2":
            raise Refused(501, "NotImplemented")
        wanted = {
            "prefix": asked.get("prefix", ""),
            "delimiter": asked.get("delimiter", ""),
            "maxResults": str(min(int(asked.get("max-keys", _PAGE_MAX)), _PAGE_MAX)),
        }
        if "continuation-token" in asked:
            wanted["pageToken"] = asked["continuation-token"]
        if "start-after" in asked:
            wanted["startOffset"] = f"{asked['start-after']}\0"
        listed = await self._emulator.get(f"/storage/v1/b/{quote(bucket)}/o", params=wanted)
        if listed.status_code == 404:
            raise Refused(404, "NoSuchBucket")
        page = listed.raise_for_status().json()
        token = page.get("nextPageToken")
        body = "".join(
            (
                f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>",
                f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "",
                *(
                    f"<Contents><Key>{escape(item['name'])}</Key><Generation>{item['generation']}</Generation>"
                    f"<LastModified>{item['updated']}</LastModified><ETag>&quot;{item['etag']}&quot;</ETag>"
                    f"<Size>{item['size']}</Size></Contents>"
                    for item in page.get("items", ())
                ),
                *(
                    f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>"
                    for each in page.get("prefixes", ())
                ),
            )
        )
        return _xml("ListBucketResult", body)

    async def _object(self, request: Request, bucket: str, name: str) -> Response:
        asked = request.query_params
        match request.method:
            case "GET" | "HEAD":
                return await self._read(request, bucket, name)
            case "PUT" if "uploadId" in asked:
                return await self._part(request, self._upload(request, bucket, name), int(asked["partNumber"]))
            case "PUT" if "x-goog-copy-source" not in request.headers:
                return await self._put(request, bucket, name)
            case "POST" if "uploads" in asked:
                return await self._begin(request, bucket, name)
            case "POST" if "uploadId" in asked:
                return await self._join(request, asked["uploadId"], self._upload(request, bucket, name))
            case "DELETE" if "uploadId" in asked:
                self._allowed(request, ABORT_PARTS)
                self._upload(request, bucket, name)
                del self._uploads[asked["uploadId"]]
                return Response(status_code=204)
            case "DELETE":
                return await self._delete(request, bucket, name)
        raise Refused(501, "NotImplemented")

    async def _read(self, request: Request, bucket: str, name: str) -> Response:
        self._allowed(request, GET)
        headers = {"Accept-Encoding": "identity"}
        if "Range" in request.headers:
            headers["Range"] = request.headers["Range"]
        asked = self._emulator.build_request(request.method, f"/{bucket}/{quote(name, safe='')}", headers=headers)
        answer = await self._emulator.send(asked, stream=True)
        if not answer.is_success:
            await answer.aclose()
            if answer.status_code == 416:
                raise Refused(416, "InvalidRange")
            self._allowed(request, LIST)  # whoever may not list is not told what is missing
            raise await self._missing(bucket)
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        if request.method == "HEAD":
            await answer.aclose()
            return Response(status_code=answer.status_code, headers=kept)
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    async def _put(self, request: Request, bucket: str, name: str) -> Response:
        data = await request.body()
        self._allowed(request, CREATE)
        return await self._stored(request, bucket, name, data, request.headers.get("x-goog-if-generation-match"))

    async def _begin(self, request: Request, bucket: str, name: str) -> Response:
        self._allowed(request, BEGIN_PARTS, CREATE)
        if (await self._emulator.get(f"/storage/v1/b/{quote(bucket)}")).status_code == 404:
            raise Refused(404, "NoSuchBucket")
        upload_id = secrets.token_hex(16)
        self._uploads[upload_id] = PartialUpload(bucket, name)
        return _xml(
            "InitiateMultipartUploadResult",
            f"<Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><UploadId>{upload_id}</UploadId>",
        )

    async def _part(self, request: Request, upload: PartialUpload, number: int) -> Response:
        data = await request.body()
        self._allowed(request, BEGIN_PARTS, CREATE)
        etag = f'"{secrets.token_hex(16)}"'
        upload.parts[number] = (etag, data)
        return Response(headers={"ETag": etag})

    async def _join(self, request: Request, upload_id: str, upload: PartialUpload) -> Response:
        body = await request.body()
        self._allowed(request, BEGIN_PARTS, CREATE)
        wanted = [
            (int(part.findtext("{*}PartNumber") or 0), part.findtext("{*}ETag"))
            for part in ElementTree.fromstring(body).iterfind("{*}Part")
        ]
        if not wanted or any(upload.parts.get(number, ("", b""))[0] != etag for number, etag in wanted):
            raise Refused(400, "InvalidPart")
        if wanted != sorted(wanted):
            raise Refused(400, "InvalidPartOrder")
        parts = [upload.parts[number][1] for number, _ in wanted]
        if any(len(part) < _PART_BYTES_MIN for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall")
        stored = await self._stored(request, upload.bucket, upload.name, b"".join(parts), None)
        del self._uploads[upload_id]
        etag = stored.headers["ETag"].replace('"', "&quot;")
        return _xml("CompleteMultipartUploadResult", f"<Key>{escape(upload.name)}</Key><ETag>{etag}</ETag>")

    async def _delete(self, request: Request, bucket: str, name: str) -> Response:
        self._allowed(request, DELETE)
        answer = await self._emulator.delete(f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}")
        if answer.status_code == 404:
            raise await self._missing(bucket)
        answer.raise_for_status()
        return Response(status_code=204)

    # -- inside

    async def _stored(self, request: Request, bucket: str, name: str, data: bytes, generation: str | None) -> Response:
        """By the one kind of upload in which the emulator looks at preconditions. Replacing is deleting, too."""
        if generation is None and self._account(request).startswith(f"without-{DELETE}@"):
            there = await self._emulator.get(f"/storage/v1/b/{quote(bucket)}/o/{quote(name, safe='')}")
            if there.is_success:
                self._allowed(request, DELETE)
        boundary = secrets.token_hex(16)
        part = f"--{boundary}\r\nContent-Type: application/"
        content = (
            f"{part}json\r\n\r\n{{}}\r\n{part}octet-stream\r\n\r\n".encode() + data + f"\r\n--{boundary}--".encode()
        )
        asked = {"uploadType": "multipart", "name": name}
        if generation is not None:
            asked["ifGenerationMatch"] = generation
        answer = await self._emulator.post(
            f"/upload/storage/v1/b/{quote(bucket)}/o",
            params=asked,
            content=content,
            headers={"Content-Type": f"multipart/related; boundary={boundary}"},
        )
        if answer.status_code == 412:
            raise Refused(412, "PreconditionFailed")
        if answer.status_code == 404:
            raise Refused(404, "NoSuchBucket")
        stored = answer.raise_for_status().json()
        return Response(headers={"ETag": f'"{stored["etag"]}"', "x-goog-generation": stored["generation"]})

    def _upload(self, request: Request, bucket: str, name: str) -> PartialUpload:
        upload = self._uploads.get(request.query_params["uploadId"])
        if upload is None or (upload.bucket, upload.name) != (bucket, name):
            raise Refused(404, "NoSuchUpload")
        return upload

    async def _missing(self, bucket: str) -> Refused:
        there = (await self._emulator.get(f"/storage/v1/b/{quote(bucket)}")).is_success
        return Refused(404, "NoSuchKey" if there else "NoSuchBucket")


def _xml(root: str, body: str) -> Response:
    return Response(f"<?xml version='1.0' encoding='UTF-8'?><{root}>{body}</{root}>", media_type="application/xml")


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def main(port: str, emulator: str, public_key: str) -> None:
    key = load_pem_public_key(Path(public_key).read_bytes())
    assert isinstance(key, RSAPublicKey)
    uvicorn.run(Door(emulator, key).app(), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
