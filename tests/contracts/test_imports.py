"""A document that comes from another deployment: held and archived as it was there, and never over what is here."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from s4.domains.audit.queries import Wanted
from s4.domains.documents import Document, DocumentStatus
from s4.domains.leaving.model import Arrival, ArrivingHold, Presence
from s4.domains.tenants import Keeping
from s4.kernel.errors import Conflict, NotFound
from s4.kernel.ids import DocumentId, GenerationId
from s4.kernel.pages import PageRequest
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER, chunks

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TEXT = "Tides follow the moon."


def arriving(document: Document) -> Arrival:
    """As its line in an export says."""
    return Arrival(
        document_id=document.document_id,
        key=document.key,
        filename=document.filename,
        content_type=document.content_type,
        size_bytes=document.size_bytes,
        sha256=document.sha256,
        metadata=document.metadata,
        uploaded_at=LONG_AGO,
    )


async def bring(house: House, tenant: Tenant, arrival: Arrival, *, replace: bool = False) -> Document:
    return await house.core.imports.receive(
        OWNER, tenant.context.tenant_id, arrival, chunks([TEXT.encode()]), replace=replace
    )


async def presence(house: House, tenant: Tenant, arrival: Arrival) -> Presence:
    ((_, state),) = (await house.core.imports.missing(OWNER, tenant.context.tenant_id, [arrival])).values()
    return state


async def test_a_document_comes_held_and_archived_so_that_no_calendar_is_faster(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        there, here = await house.tenant("There"), await house.tenant("Here")
        was = [await house.put(there, key, TEXT) for key in ("held", "cold", "free")]
        hold = {"operator": ArrivingHold("Case 7", LONG_AGO), "tenant": ArrivingHold("Case 8", LONG_AGO)}
        await house.core.lifecycle.set_keeping(OWNER, here.context.tenant_id, Keeping(30, None))

        held = await bring(house, here, replace(arriving(was[0]), holds=hold))
        cold = await bring(house, here, replace(arriving(was[1]), archived_at=LONG_AGO))
        await bring(house, here, arriving(was[2]))
        await house.work()

        assert {who: said["reason"] for who, said in held.holds.items()} == {"operator": "Case 7", "tenant": "Case 8"}
        assert (cold.status, cold.archived_at) == (DocumentStatus.ARCHIVED, LONG_AGO)
        found = set(await house.found(here, "tides"))
        assert held.document_id in found
        assert cold.document_id not in found
        listed, _ = await house.core.audit.page(OWNER, Wanted(action="document.hold"), PageRequest(1, 10))
        assert [each.entry.subject for each in listed] == [f"document/{held.document_id}"]
        with pytest.raises(Conflict, match="legal hold"):
            await house.core.documents.delete(here.context, held.document_id)
        assert (await house.core.retention.run(OWNER, tenant_id=here.context.tenant_id)).deleted == 2
        assert [document.key for document in await house.all(here)] == ["held"]


async def test_an_archived_document_that_came_is_brought_back_as_any(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        there, here = await house.tenant("There"), await house.tenant("Here")
        cold = await bring(house, here, replace(arriving(await house.put(there, "cold", TEXT)), archived_at=LONG_AGO))
        await house.work()
        await house.core.archive.restore(here.context, cold.document_id)
        await house.work()
        assert await house.found(here, "tides") == [cold.document_id]


async def test_what_has_just_come_is_not_archived_because_nobody_has_read_it_here(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        there, here = await house.tenant("There"), await house.tenant("Here")
        came = await bring(house, here, arriving(await house.put(there, "k", TEXT)))
        await house.work()
        await house.core.lifecycle.set_keeping(OWNER, here.context.tenant_id, Keeping(None, 30))
        assert came.uploaded_at == LONG_AGO
        _, due = await house.core.retention.due(OWNER, tenant_id=here.context.tenant_id, ahead=timedelta(days=29))
        assert due == []


async def test_what_was_changed_or_deleted_here_stays_so(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        there, here = await house.tenant("There"), await house.tenant("Here")
        changed, deleted = [arriving(await house.put(there, key, TEXT)) for key in ("changed", "deleted")]
        assert await presence(house, here, changed) is Presence.MISSING
        first = await bring(house, here, changed)
        again = await bring(house, here, changed)
        assert (again.revision, await presence(house, here, changed)) == (first.revision, Presence.HERE)
        await house.core.documents.delete(here.context, (await bring(house, here, deleted)).document_id)
        await house.put(here, "changed", "A newer text.")

        assert await presence(house, here, changed) is Presence.CHANGED
        assert await presence(house, here, deleted) is Presence.DELETED
        with pytest.raises(Conflict):
            await bring(house, here, changed)
        for arrival in (changed, deleted):
            await bring(house, here, arrival, replace=True)
            assert await presence(house, here, arrival) is Presence.HERE
        held = replace(changed, holds={"operator": ArrivingHold("Case 7", LONG_AGO)})
        assert await presence(house, here, held) is Presence.CHANGED, "not held as it was there"


async def test_text_and_chunks_are_those_of_the_line_or_none(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        await house.put(acme, "k", TEXT)
        await house.work()
        exports, tenant_id = house.core.exports, acme.context.tenant_id
        ((line,), _) = await exports.page(OWNER, tenant_id, after="", limit=10)
        identity = DocumentId(line.document.document_id)
        ((name, revision),) = line.searchable.items()
        await house.put(acme, "k", "Glaciers grind the valley.")
        await house.work()

        text = await exports.text(
            OWNER, tenant_id, identity, line.document.version_id, content_revision=line.document.content_revision
        )
        assert TEXT in text.decode()
        with pytest.raises(Conflict) as moved:
            await exports.chunks(OWNER, tenant_id, GenerationId(name), {identity: revision})
        assert moved.value.details == {"documents": [identity]}
        with pytest.raises(NotFound):
            await exports.text(OWNER, tenant_id, identity, line.document.version_id, content_revision=7)
