"""A recovery drill with figures: how long a recovery takes, how much it would lose, what it asks of the stores.

    python benchmarks/drill.py                       200 documents, in a directory and on a bucket with PostgreSQL
    python benchmarks/drill.py --documents 10000     how it grows

Documents are pages of some hundred words, embedded by hashed words: what is measured is copying, rebuilding and
verifying, not a model. Prints Markdown, and exits with 1 when a drill fails.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from s4.entrypoints.bootstrap import make_backups  # noqa: E402 - after the path
from s4.kernel.units import human_size  # noqa: E402 - after the path
from s4.platform.telemetry import logs  # noqa: E402 - after the path
from tests.factories.house import House, open_house  # noqa: E402 - after the path
from tests.servers import postgres, seaweedfs  # noqa: E402 - after the path

_TENANTS = 5
_AT_ONCE = 16
_WORDS = 150
_CHANGED_PART = 20  # one document in so many is replaced between two backups


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--setting", choices=("embedded", "cluster"), action="append")
    options = parser.parse_args()
    logs.configure(level="critical", log_format="json", service="drill")
    rows = []
    for setting in options.setting or ["embedded", "cluster"]:
        with tempfile.TemporaryDirectory() as folder, _settings(setting, Path(folder)) as settings:
            rows.append(asyncio.run(_drill(setting, Path(folder), settings, options.documents)))
    print(_table(rows))
    return 0 if all(row["ok"] for row in rows) else 1


@contextlib.contextmanager
def _settings(setting: str, folder: Path) -> Iterator[dict[str, Any]]:
    if setting == "embedded":
        yield {"backup_url": (folder / "backups").as_uri()}
        return
    with seaweedfs() as s3, postgres() as database:
        yield {
            "database_url": database.new_database(),
            "store_url": f"s3://{s3.new_bucket()}",
            "store_endpoint": s3.endpoint,
            "store_access_key_id": s3.access_key,
            "store_secret_access_key": s3.secret_key,
            "backup_url": f"s3://{s3.new_bucket()}",
        }


async def _drill(setting: str, folder: Path, settings: dict[str, Any], count: int) -> dict[str, Any]:
    async with open_house(folder / "data", **settings) as house:
        await _fill(house, count)
        backups = make_backups(house.core)
        first = await backups.create()
        await _change(house, count // _CHANGED_PART)
        second = await backups.create()
        started = time.perf_counter()
        verified = await backups.verify("latest")
        verified_seconds = time.perf_counter() - started
        drilled = await backups.drill()
        for problem in [*verified.problems, *drilled.problems]:
            print(problem, file=sys.stderr)
        restored = drilled.restored
        return {
            "ok": drilled.ok and verified.ok,
            "setting": setting,
            "documents": count,
            "size": human_size(first.counts.object_bytes),
            "first": f"{first.work.seconds:.1f} s, {first.work.requests}",
            "next": f"{second.work.seconds:.1f} s, {second.work.requests}, {human_size(second.work.bytes_copied)}",
            "verify": f"{verified_seconds:.1f} s",
            "rto": f"{drilled.rto_seconds:.1f} s" if drilled.rto_seconds is not None else "-",
            "rpo": f"{drilled.rpo_seconds:.1f} s" if drilled.rpo_seconds is not None else "-",
            "bytes": human_size(restored.bytes_written) if restored is not None else "-",
            "requests": restored.requests if restored is not None else "-",
        }


async def _fill(house: House, count: int) -> None:
    words = [f"word{number}" for number in range(5_000)]
    drawn = random.Random(7)
    tenants = [await house.tenant(f"Tenant {number}") for number in range(_TENANTS)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def put(number: int) -> None:
        async with gate:
            text = f"page{number} " + " ".join(drawn.choices(words, k=_WORDS))
            await house.put(tenants[number % _TENANTS], f"page-{number}", text)

    await asyncio.gather(*map(put, range(count)))
    await house.work()


async def _change(house: House, count: int) -> None:
    tenant = await house.tenant("Late")
    for number in range(count):
        await house.put(tenant, f"page-{number}", f"a late page {number} of whales and tides")
    await house.work()


def _table(rows: list[dict[str, Any]]) -> str:
    headings = {
        "setting": "setting", "documents": "documents", "size": "size", "first": "first backup, requests",
        "next": "next one, requests, copied", "verify": "verified in", "rto": "RTO", "rpo": "RPO",
        "bytes": "restored", "requests": "requests",
    }  # fmt: skip
    lines = [" | ".join(headings.values()), " | ".join("---" for _ in headings)]
    lines += [" | ".join(str(row[name]) for name in headings) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
