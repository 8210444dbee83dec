"""Where backups lie: another bucket, another directory, or `backups/` in the deployment's own store.

    backups/{time}/manifest.json              what makes it a backup; written last
    backups/{time}/parts/{n}.jsonl.zst        the list of its objects, in order; number 0 holds its samples
    backups/data/{xx}/{name}                  bytes: one large object, or many small ones one after the other

Backups share `data`: an object that a former one has is not copied again. Nothing here is ever overwritten with other
bytes. What no manifest names is a leftover, for `Pruner` to remove once it is old enough to be nobody's work.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict

import zstandard

from s4.domains.backup.model import LATEST, Entry, Manifest, Part, Sample, entries_of, lines, point_of
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, InvalidRequest, NotFound
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import GIB
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.security.vault import Vault, encrypted_bytes

_LEVEL = 3  # zstd's default
_PART_BYTES_MAX = GIB  # unpacked: whoever can write to the place must not fill our memory with one object


class Traffic:
    """Counts what a store was asked, as its observer."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes_written = 0

    def __call__(self, _key: str, what: str, amount: int) -> None:
        if what in ("reads", "writes"):
            self.requests += amount
        elif what == "bytes_written":
            self.bytes_written += amount


class Place:
    """A store with backups in it, and the key that new ones are encrypted under, if they are. What lies there is read
    as its manifest says: in plain, or by that key."""

    def __init__(self, store: ObjectStore, vault: Vault | None, *, is_shared: bool, name: str) -> None:
        """`is_shared`: it is the deployment's own store, which can copy by itself. `name` tells places apart."""
        self.name = name
        self.store = store
        self.vault = vault
        self.is_shared = is_shared
        self.traffic = Traffic()
        store.observer = self.traffic

    # -- backups

    async def ids(self) -> list[str]:
        """Of all that have begun, whole or not, oldest first."""
        children = await self.store.list_children(keys.BACKUPS)
        names = (child.removeprefix(keys.BACKUPS).rstrip("/") for child in children)
        return sorted(filter(keys.is_backup_id, names))

    async def manifest(self, identifier: str) -> Manifest:
        """Raises `NotFound` when it is no whole backup, `DataCorrupt` when its manifest is damaged."""
        point_of(identifier)
        try:
            data = await self.store.get(keys.backup_manifest(identifier))
        except ObjectMissing as error:
            raise NotFound(f"There is no whole backup {identifier}.") from error
        manifest = Manifest.from_bytes(data)
        if manifest.backup_id != identifier:
            raise DataCorrupt(f"The manifest of backup {identifier} is another's.")
        return manifest

    async def find(self, wanted: str) -> Manifest:
        """`latest`, or by its id. A damaged manifest is not passed over: whoever asks for the latest must hear of it.
        Raises `NotFound`, `DataCorrupt`, `InvalidRequest`."""
        if wanted != LATEST:
            return await self.manifest(wanted)
        for identifier in reversed(await self.ids()):
            try:
                return await self.manifest(identifier)
            except NotFound:
                continue  # it was never finished
        raise NotFound("There is no backup yet: make one with `s4 backup create`.")

    async def whole(self) -> list[Manifest]:
        """Every backup that can be read, oldest first. Those that cannot are for `Verifier` to tell of."""
        found = []
        for identifier in await self.ids():
            try:
                found.append(await self.manifest(identifier))
            except (NotFound, DataCorrupt):
                continue
        return found

    async def put_manifest(self, manifest: Manifest) -> None:
        await self.store.put(keys.backup_manifest(manifest.backup_id), manifest.to_bytes())

    # -- lists

    async def put_part(self, identifier: str, number: int, entries: list[Entry]) -> Part:
        digest = await self._put_list(keys.backup_part(identifier, number), lines(entries))
        return Part(number, len(entries), digest, entries[0].key if entries else "")

    async def put_samples(self, identifier: str, samples: Iterable[Sample]) -> Part:
        listed = list(samples)
        text = "".join(json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in listed)
        digest = await self._put_list(keys.backup_part(identifier, 0), text.encode())
        return Part(0, len(listed), digest, "")

    async def samples(self, manifest: Manifest) -> list[Sample]:
        self.require_key(manifest)
        text = await self._list(manifest, manifest.samples)
        try:
            return [Sample(**json.loads(line)) for line in text.decode().splitlines()]
        except (ValueError, TypeError) as error:
            raise DataCorrupt("A backup's samples cannot be read.") from error

    async def entries(self, manifest: Manifest) -> AsyncIterator[Entry]:
        """In the order of their keys. Raises `DataCorrupt` for a list that is gone, cut or changed."""
        async for entry in self._entries_in(manifest, manifest.parts):
            yield entry

    async def entries_below(self, manifest: Manifest, prefix: ObjectPrefix) -> AsyncIterator[Entry]:
        """The same of the keys that begin so; only lists that may have any are read."""
        parts = [
            part
            for part, following in zip(manifest.parts, [*manifest.parts[1:], None], strict=False)  # none of none
            if not (following is not None and following.first_key <= prefix)
            and (part.first_key <= prefix or part.first_key.startswith(prefix))
        ]
        async for entry in self._entries_in(manifest, parts):
            if entry.key.startswith(prefix):
                yield entry

    async def _entries_in(self, manifest: Manifest, parts: Iterable[Part]) -> AsyncIterator[Entry]:
        self.require_key(manifest)
        for part in parts:
            count = 0
            for entry in entries_of(await self._list(manifest, part)):
                count += 1
                yield entry
            if count != part.entries:
                raise DataCorrupt("A list of a backup's objects is not whole.")

    async def unfinished_entries(self, identifier: str) -> AsyncIterator[Entry]:
        """What a run that was broken off had copied. Lists that cannot be read are passed over, also those that were
        made with another key, or with none: what they name is of no use to a run with this one."""
        prefix = keys.backup(identifier)
        for key in [info.key async for info in self.store.list(prefix)]:
            if key.endswith("/000000.jsonl.zst") or not key.endswith(".jsonl.zst"):
                continue
            try:
                data = await self.store.get(key)
                for entry in entries_of(await self._unpacked(key, data, encrypted=self.vault is not None)):
                    yield entry
            except DataCorrupt:
                continue

    def require_key(self, manifest: Manifest) -> None:
        """Raises `InvalidRequest` unless `opens`."""
        if not self.opens(manifest):
            raise InvalidRequest(
                f"Backup {manifest.backup_id} is encrypted under the key {manifest.encrypted_under}: set "
                "S4_BACKUP_ENCRYPTION_KEY to that one."
            )

    def opens(self, manifest: Manifest) -> bool:
        """Whether the backup can be read with what is configured: one in plain always can, whatever is encrypted
        nowadays."""
        under = manifest.encrypted_under
        return under is None or (self.vault is not None and self.vault.key_id == under)

    # -- bytes

    def stored_bytes(self, plain_bytes: int, *, encrypted: bool) -> int:
        """How long a data object of so many bytes is in the place."""
        return encrypted_bytes(plain_bytes) if encrypted else plain_bytes

    def name_for(self, identity: bytes) -> str:
        """Of a data object: the same for the same identity and the same key, so that what is written twice is the
        same twice, and nothing that was encrypted under another key is overwritten."""
        key_id = self.vault.key_id if self.vault is not None else ""
        return hashlib.sha256(key_id.encode() + b"\0" + identity).hexdigest()

    async def data_sizes(self) -> dict[str, int]:
        """Name and stored size of every data object."""
        return {info.key.rsplit("/", 1)[-1]: info.size async for info in self.store.list(keys.BACKUP_DATA)}

    async def put_data(self, name: str, content: AsyncIterator[bytes]) -> None:
        """Raises what `content` does; then nothing is there under that name."""
        key = keys.backup_data(name)
        stored = self.vault.encrypted(content, belongs_to=name) if self.vault is not None else content
        await self.store.put_stream(key, stored)

    async def data(self, name: str, *, encrypted: bool) -> AsyncIterator[bytes]:
        """The bytes as they were copied. Raises `DataCorrupt` when they are gone."""
        stored = self.store.stream(keys.backup_data(name))
        try:
            plain = self.vault.decrypted(stored, belongs_to=name) if encrypted and self.vault is not None else stored
            async for chunk in plain:
                yield chunk
        except ObjectMissing as error:
            raise DataCorrupt(f"The backup lacks an object: {keys.backup_data(name)}.") from error

    # -- inside

    async def _put_list(self, key: ObjectKey, text: bytes) -> str:
        packed = await asyncio.to_thread(
            zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True).compress, text
        )
        if self.vault is not None:
            packed = b"".join([piece async for piece in self.vault.encrypted(_once(packed), belongs_to=key)])
        await self.store.put(key, packed)
        return hashlib.sha256(packed).hexdigest()

    async def _list(self, manifest: Manifest, part: Part) -> bytes:
        key = keys.backup_part(manifest.backup_id, part.number)
        try:
            data = await self.store.get(key)
        except ObjectMissing as error:
            raise DataCorrupt(f"The backup lacks a list: {key}.") from error
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise DataCorrupt(f"A list of the backup is not what was written: {key}.")
        return await self._unpacked(key, data, encrypted=manifest.encrypted_under is not None)

    async def _unpacked(self, key: ObjectKey, data: bytes, *, encrypted: bool) -> bytes:
        if encrypted and self.vault is not None:
            data = b"".join([piece async for piece in self.vault.decrypted(_once(data), belongs_to=key)])
        try:
            return await asyncio.to_thread(
                zstandard.ZstdDecompressor().decompress, data, max_output_size=_PART_BYTES_MAX
            )
        except zstandard.ZstdError as error:
            raise DataCorrupt(f"A list of the backup cannot be read: {key}.") from error


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
