"""What embedding took is in the ledger with the publication; what came to nothing, by itself."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from s4.domains.documents import DocumentStatus
from s4.kernel.errors import Unavailable
from tests.factories.house import open_house
from tests.factories.metering import month_of

TEXT = "Tides follow the moon."


async def test_tokens_are_paid_once_also_by_an_attempt_that_came_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, job_backoff_seconds=0.01) as house:
        publisher = house.parts.indexing._publisher
        publish, attempts = publisher.publish, []

        async def at_the_second_attempt(change: Any) -> None:
            attempts.append(change)
            if len(attempts) == 1:
                raise Unavailable("down")
            await publish(change)

        monkeypatch.setattr(publisher, "publish", at_the_second_attempt)
        acme = await house.tenant()
        document = await house.put(acme, "tides", TEXT)
        while (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING:
            await house.work()
        month = await month_of(house.core.database, acme.context.tenant_id, datetime.now(UTC))

    assert len(attempts) == 2
    assert month["embedding_tokens_paid"] == month["embedding_tokens_cached"] > 0
    assert month["chunks"] == 1
