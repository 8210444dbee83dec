"""What the collector of garbage takes for dead."""

from pathlib import Path

from s4.kernel import keys
from s4.kernel.keys import ObjectKey
from tests.factories.house import open_house


async def test_a_version_that_became_the_documents_since_the_collector_looked_is_not_dead(tmp_path: Path) -> None:
    """An upload that settles between the collector's two looks. The second one alone is asked here: which moment the
    first one saw is in nobody's hand."""
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        tenant_id, collector = acme.context.tenant_id, house.parts.maintenance

        async def put(text: str) -> ObjectKey:
            document = await house.put(acme, "k", text)
            return keys.content(tenant_id, document.document_id, document.version_id)

        first = await put("the ancient wording")
        parsed = keys.parse(first)
        assert parsed is not None
        assert parsed.document_id is not None
        assert await collector._may_live(tenant_id, parsed.document_id, {first})

        second = await put("the modern wording")

        assert not await collector._may_live(tenant_id, parsed.document_id, {first})
        assert await collector._may_live(tenant_id, parsed.document_id, {first, second})
