"""A recovery drill with figures: how long a recovery takes, how much it would lose, what it asks of the stores.

    python benchmarks/drill.py                       200 documents, in a directory and on a bucket with PostgreSQL
    python benchmarks/drill.py --documents 100000    how it grows: 100 tenants of 1,000 documents each
    python benchmarks/drill.py --promotion           also a second region: copied, and promoted

Documents are pages of 150 words, embedded by hashed words: what is measured is copying, rebuilding and verifying, not a
model. How so many are made says `filled.py`. Into a bucket they come by a restore from a backup of the directory that
they were made in: that is a recovery into an empty bucket and an empty database, and is measured as one. Drills restore
into a directory with SQLite, in either setting. Between the two backups one document in twenty is new, but no more than
500, in a tenant of its own. Prints Markdown, and exits with 1 when a drill fails.
"""

import argparse
import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import filled  # noqa: E402 - after the path

from s4.domains.backup import Restorer  # noqa: E402 - after the path
from s4.domains.backup.model import LATEST, Erased  # noqa: E402 - after the path
from s4.entrypoints.bootstrap import (  # noqa: E402 - after the path
    RANDOM,
    make_backups,
    make_promotions,
    make_replicator,
    migrate_database,
    open_core,
    open_own_store,
    open_place,
    open_rebuild,
    open_restored,
    require_catalog,
)
from s4.entrypoints.configuration import load_settings  # noqa: E402 - after the path
from s4.kernel.clock import SystemClock  # noqa: E402 - after the path
from s4.kernel.log_settings import LogFormat  # noqa: E402 - after the path
from s4.kernel.settings import Settings  # noqa: E402 - after the path
from s4.kernel.units import human_size  # noqa: E402 - after the path
from s4.platform.telemetry import logs  # noqa: E402 - after the path
from tests.factories.house import House, open_house  # noqa: E402 - after the path
from tests.servers import postgres, seaweedfs  # noqa: E402 - after the path

_CHANGED_PART = 20  # one document in so many is new between two backups
_CHANGED_MAX = 500  # they come one by one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--setting", choices=("embedded", "cluster"), action="append")
    parser.add_argument("--promotion", action="store_true", help="Also copies into a second bucket, and promotes that.")
    parser.add_argument("--filled", type=Path, help="A directory of so many documents from an earlier run, or for one.")
    options = parser.parse_args()
    logs.configure(level="critical", log_format=LogFormat.JSON, service="drill")
    rows = []
    with tempfile.TemporaryDirectory() as made:
        data_dir = options.filled or Path(made) / "data"
        if not data_dir.exists():
            _say(asyncio.run(filled.fill(data_dir, options.documents)))
        for setting in options.setting or ["cluster", "embedded"]:
            with tempfile.TemporaryDirectory() as folder, _settings(setting, Path(folder)) as settings:
                run = _Run(Path(folder), data_dir, settings, options.documents)
                rows.append({"setting": setting, **asyncio.run(run.all(promotes=options.promotion))})
                _say(rows[-1])
    print(_table(rows))
    return 0 if all(row["ok"] for row in rows) else 1


@contextlib.contextmanager
def _settings(setting: str, folder: Path) -> Iterator[dict[str, Any]]:
    if setting == "embedded":
        yield {
            "backup_url": (folder / "backups").as_uri(),
            "replica_store_url": (folder / "replica").as_uri(),
        }
        return
    with seaweedfs() as s3, postgres() as database:
        yield {
            "database_url": database.new_database(),
            "second_database_url": database.new_database(),
            "store_url": f"s3://{s3.new_bucket()}",
            "store_endpoint": s3.endpoint,
            "store_access_key_id": s3.access_key,
            "store_secret_access_key": s3.secret_key,
            "backup_url": f"s3://{s3.new_bucket()}",
            "replica_store_url": f"s3://{s3.new_bucket()}",
            "replica_store_endpoint": s3.endpoint,
            "replica_store_access_key_id": s3.access_key,
            "replica_store_secret_access_key": s3.secret_key,
        }


@dataclass
class _Run:
    """One setting."""

    folder: Path
    filled: Path
    settings: dict[str, Any]
    count: int

    async def all(self, *, promotes: bool) -> dict[str, Any]:
        second_database = self.settings.pop("second_database_url", None)
        data_dir, said = self.filled, {"recovered": "-"}
        if "store_url" in self.settings:
            data_dir = self.folder / "data"
            said = await self._recovered(data_dir)
        async with open_house(data_dir, **self.settings) as house:
            said |= await self._drilled(house)
            self.settings["store_url"] = house.core.settings.store_url
            if promotes:
                said |= await self._copied(house)
        if promotes:
            said |= await self._promoted(second_database)
        return said

    async def _recovered(self, data_dir: Path) -> dict[str, Any]:
        """What `s4 restore latest` does with an empty store and an empty database."""
        async with open_house(self.filled, backup_url=(self.folder / "first").as_uri()) as house:
            await make_backups(house.core).create()
            origin = house.core.settings
        loaded = self._loaded(data_dir, self.settings)
        phases = _Phases()
        async with open_place(origin) as place, open_own_store(loaded) as target:
            manifest = await place.find(LATEST)
            require = partial(require_catalog, loaded)
            restorer = Restorer(place, target, SystemClock(), RANDOM, require)
            restored = await restorer.restore(manifest, Erased(), lambda: open_restored(loaded), phases)
        assert restored.ok, restored.problems
        shutil.rmtree(self.folder / "first", ignore_errors=True)
        return {"recovered": f"{phases.seconds():.1f} s ({phases})"}

    async def _drilled(self, house: House) -> dict[str, Any]:
        backups = make_backups(house.core)
        first = await backups.create()
        await filled.upload(house, await house.tenant("Late"), min(self.count // _CHANGED_PART, _CHANGED_MAX))
        second = await backups.create()
        started = time.perf_counter()
        verified = await backups.verify("latest")
        verified_seconds = time.perf_counter() - started
        phases = _Phases()
        drilled = await backups.drill(phases)
        for problem in [*verified.problems, *drilled.problems]:
            print(problem, file=sys.stderr)
        restored = drilled.restored
        return {
            "ok": drilled.ok and verified.ok,
            "documents": f"{self.count:,}",
            "size": human_size(first.counts.object_bytes),
            "first": f"{first.work.seconds:.1f} s, {first.work.requests:,}",
            "next": f"{second.work.seconds:.1f} s, {second.work.requests:,}, {human_size(second.work.bytes_copied)}",
            "verify": f"{verified_seconds:.1f} s",
            "rto": f"{drilled.rto_seconds:.1f} s ({phases})" if drilled.rto_seconds is not None else "-",
            "rpo": f"{drilled.rpo_seconds:.1f} s" if drilled.rpo_seconds is not None else "-",
            "bytes": human_size(restored.bytes_written) if restored is not None else "-",
            "requests": f"{restored.requests:,}" if restored is not None else "-",
        }

    async def _copied(self, house: House) -> dict[str, Any]:
        replicator = make_replicator(house.core)
        first, again = await replicator.run(), await replicator.run()
        return {"copied": f"{first.seconds:.1f} s, {first.objects:,}", "again": f"{again.seconds:.1f} s"}

    async def _promoted(self, second_database: str | None) -> dict[str, Any]:
        """The second region with an empty database, the first one's bucket within reach."""
        there = self.settings | {"database_url": second_database} if second_database else dict(self.settings)
        there |= {"store_url": there["replica_store_url"], "replica_store_url": there["store_url"]}
        started = time.perf_counter()
        loaded = self._loaded(self.folder / "second", there)
        async with open_core(loaded, standby=True) as core, open_rebuild(core) as rebuild:
            promoted = await make_promotions(core).promote(rebuild)
        assert not promoted.report.problems, promoted.report.problems
        return {"promoted": f"{time.perf_counter() - started:.1f} s"}

    def _loaded(self, data_dir: Path, settings: dict[str, Any]) -> Settings:
        loaded = load_settings(data_dir=data_dir, embedding_provider="deterministic", **settings)
        migrate_database(loaded)
        return loaded


class _Phases:
    """When a restore began what."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {"": time.perf_counter()}

    def __call__(self, what: str, _objects: int, _bytes: int) -> None:
        self._began.setdefault(what, time.perf_counter())

    def seconds(self) -> float:
        return time.perf_counter() - self._began[""]

    def __str__(self) -> str:
        copied = self._began.get("rebuilding", 0.0) - self._began[""]
        rebuilt = self._began.get("verifying", 0.0) - self._began.get("rebuilding", 0.0)
        return f"{copied:.1f} s of them copying, {rebuilt:.1f} s the catalog"


def _say(what: Any) -> None:
    """Along the way: a run of many documents is long."""
    print(what, file=sys.stderr, flush=True)


def _table(rows: list[dict[str, Any]]) -> str:
    headings = {
        "setting": "setting", "documents": "documents", "size": "size", "first": "first backup, requests",
        "next": "next one, requests, copied", "verify": "verified in", "rto": "RTO", "rpo": "RPO",
        "bytes": "restored", "requests": "requests", "recovered": "into an empty store and database",
        "copied": "copied into a second bucket, objects", "again": "again", "promoted": "promoted",
    }  # fmt: skip
    headings = {name: told for name, told in headings.items() if name in rows[0]}
    lines = [" | ".join(headings.values()), " | ".join("---" for _ in headings)]
    lines += [" | ".join(str(row[name]) for name in headings) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
