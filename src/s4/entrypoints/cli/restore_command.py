"""`s4 restore`: back to a backup, or to a moment; everything or one tenant; here, beside, or on an empty machine."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.backup_commands import done, operator_context, searched, settings_of, shown
from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, examples, moment
from s4.entrypoints.cli.output import print_json, print_line, print_note
from s4.kernel.units import human_size

if TYPE_CHECKING:
    from s4.domains.backup import Erased, ErasedSince, Restored, Rewinder, Rewound
    from s4.domains.backup.creator import Progress
    from s4.domains.backup.sources import Source
    from s4.entrypoints.bootstrap import Core
    from s4.kernel.context import AdminContext
    from s4.kernel.ids import TenantId
    from s4.kernel.settings import Settings

_NAMES_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "restore",
        epilog=examples(
            "s4 restore latest --data-dir restored --from file://$PWD/s4-data/objects",
            "s4 restore latest --data-dir s4-data --in-place --dry-run",
        ),
    )(restore)


def restore(
    context: typer.Context,
    wanted: Annotated[
        str | None,
        typer.Argument(metavar="[BACKUP]", show_default=False, help="`latest`, or one of `s4 backup list`."),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at",
            parser=moment,
            metavar="TIME",
            show_default=False,
            help="Instead of a backup: a moment, from what the bucket still keeps (S4_GARBAGE_GRACE_SECONDS).",
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", show_default=False, help="Only this tenant (id); see the next two.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Take the tenant, or all of them, back while they are served.")
    ] = False,
    as_new: Annotated[
        str | None,
        typer.Option("--as-new", metavar="NAME", show_default=False, help="Make a new tenant beside the live one."),
    ] = None,
    plan: Annotated[
        str | None, typer.Option("--plan", show_default=False, help="Of the new tenant; as it was if absent.")
    ] = None,
    heal: Annotated[
        bool, typer.Option("--heal", help="In place: read the bytes of unchanged documents, too, and replace bad ones.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", show_default=False, help="Where backups are, as S4_BACKUP_URL."),
    ] = None,
    erased_in: Annotated[
        str | None,
        typer.Option(
            "--erased-in",
            metavar="URL",
            show_default=False,
            help="The old deployment's store, if it is still there: it knows best who was erased since.",
        ),
    ] = None,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    as_json: Json = False,
) -> None:
    """Go back.

    Without --in-place and --as-new: everything, into the empty store and catalog of these settings, which may be served
    once the restore has found them sound. It gets an epoch of its own, so a catalog of the old deployment refuses it.
    Interrupted, it goes on where it was. Whoever was erased since is not brought back, anywhere.
    """
    way = _Way(wanted, at, tenant, in_place, as_new, plan, heal, dry_run)
    way.check()
    is_whole = not in_place and as_new is None
    settings = settings_of(
        context, config, mints=not dry_run if is_whole else None, data_dir=data_dir, backup_url=source
    )
    if is_whole:
        _show_whole(done(_whole(settings, way, erased_in, as_json=as_json)), way, as_json=as_json)
    else:
        _show_tenants(done(_tenants(settings, way, erased_in, as_json=as_json)), way, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Way:
    """What was asked for."""

    wanted: str | None
    at: datetime | None
    tenant: str | None
    in_place: bool
    as_new: str | None
    plan: str | None
    heal: bool
    dry_run: bool

    def check(self) -> None:
        """Raises `WrongUsage` for what does not go together."""
        if (self.wanted is None) == (self.at is None):
            raise WrongUsage("Say what to go back to: a backup (`latest`), or --at a moment.")
        if self.in_place and self.as_new is not None:
            raise WrongUsage("--in-place and --as-new are two ways: choose one.")
        if self.as_new is not None and self.tenant is None:
            raise WrongUsage("--as-new makes one tenant: say of which by --tenant.")
        if self.plan is not None and self.as_new is None:
            raise WrongUsage("--plan is that of a new tenant: it goes with --as-new.")
        if not self.in_place and self.as_new is None:
            if self.tenant is not None:
                raise WrongUsage("Say what becomes of the tenant: --in-place, or --as-new NAME.")
            if self.at is not None:
                raise WrongUsage("A moment is restored in place or as a new tenant: the bucket that knows it is here.")
        if self.heal and not (self.in_place and self.at is None):
            raise WrongUsage("--heal goes with --in-place and a backup.")


async def _whole(settings: "Settings", way: _Way, erased_url: str | None, *, as_json: bool) -> "Restored":
    from s4.domains.backup import Restorer, erased_by_place, reading, together
    from s4.entrypoints import bootstrap
    from s4.entrypoints.bootstrap import open_own_store, open_place, open_restored, secret_key_id
    from s4.kernel.clock import SystemClock

    assert way.wanted is not None, "checked"
    if way.dry_run:
        settings = bootstrap.looked_at(settings)
    async with open_place(settings) as place, open_own_store(settings) as target, AsyncExitStack() as stack:
        if not way.dry_run and not await stack.enter_async_context(reading(place, bootstrap.RANDOM)):
            print_note(
                "Nothing can be written beside the backups, so whoever removes old ones does not see this restore: if "
                "another deployment does (S4_BACKUP_PRUNE), see to it that it keeps this one."
            )
        manifest = await place.find(way.wanted)
        by_place = await erased_by_place(place, manifest, others_tell=erased_url is not None)
        by_store = await _erased_at(settings, erased_url, reads=True)
        erased = together(by_place.erased, by_store.erased)
        if settings.secret_key is None or manifest.secret_key_id != secret_key_id(settings):
            print_note(
                "S4_SECRET_KEY is not the one that was in use: what was encrypted under it (secrets of webhooks) will "
                "not open. Set it before you restore, if you have it."
            )
        require_catalog = partial(bootstrap.require_catalog, settings)
        restorer = Restorer(place, target, SystemClock(), bootstrap.RANDOM, require_catalog)
        if way.dry_run:
            return await restorer.plan(manifest, erased)
        return await restorer.restore(
            manifest,
            erased,
            lambda: open_restored(settings),
            shown(as_json=as_json),
            besides=by_place.listed | by_store.listed,
        )


async def _tenants(settings: "Settings", way: _Way, erased_url: str | None, *, as_json: bool) -> "list[Rewound]":
    from s4.domains.backup import Rewound, erased_in, together
    from s4.entrypoints.bootstrap import make_rewinder, open_core
    from s4.kernel.errors import DataCorrupt, NotFound
    from s4.kernel.ids import parse_tenant_id

    rewound = []
    by_url = await _erased_at(settings, erased_url)
    async with open_core(settings) as core, AsyncExitStack() as stack:
        rewinder = make_rewinder(core)
        await stack.enter_async_context(rewinder.turn())  # of all tenants, and first: a backup that is found stays
        source, by_place = await stack.enter_async_context(_source(core, way, others_tell=erased_url is not None))
        context = await operator_context(core)
        erased = together((await erased_in(core.store)).erased, by_url.erased, by_place.erased)
        if way.tenant is not None:
            tenants = [parse_tenant_id(way.tenant)]
        else:
            there = await source.tenants()
            tenants = [tenant_id for tenant_id in there if not erased.covers(tenant_id, None)]
            if len(tenants) < len(there):
                print_note(f"Tenants that were erased since, and are left out: {len(there) - len(tenants)}.")
            if since := set(await core.tenants.ids()) - set(there):
                print_note(f"Tenants that were made since, and stay as they are: {len(since)}.")
        for tenant_id in tenants:
            progress = shown(as_json=as_json)
            try:
                rewound.append(await _one(rewinder, context, source, tenant_id, erased, way, progress))
            except NotFound:
                if way.tenant is not None:
                    raise
                print_note(f"{tenant_id} is not here any more: --tenant {tenant_id} --as-new NAME brings it back.")
            except DataCorrupt as error:
                if way.tenant is not None:
                    raise
                rewound.append(Rewound(tenant_id, tenant_id, problems=[error.message], is_untouched=True))
    return rewound


async def _one(
    rewinder: "Rewinder",
    context: "AdminContext",
    source: "Source",
    tenant_id: "TenantId",
    erased: "Erased",
    way: _Way,
    progress: "Progress",
) -> "Rewound":
    from s4.kernel.errors import InvalidRequest

    if way.as_new is None:
        return await rewinder.in_place(
            context, source, tenant_id, erased, heals=way.heal, dry_run=way.dry_run, progress=progress
        )
    try:
        return await rewinder.beside(
            context,
            source,
            tenant_id,
            erased,
            name=way.as_new,
            plan_id=way.plan,
            dry_run=way.dry_run,
            progress=progress,
        )
    except InvalidRequest as error:
        if "plan_id" in error.details:
            raise InvalidRequest(f"{error.message} This tenant was on it: say another by --plan.") from error
        raise


@asynccontextmanager
async def _source(core: "Core", way: _Way, *, others_tell: bool) -> "AsyncIterator[tuple[Source, ErasedSince]]":
    """And who must not come back from it. This deployment's own list is whole as far as its own backups go."""
    from s4.domains.backup import BackupSource, ChainSource, ErasedSince, erased_by_place
    from s4.entrypoints.bootstrap import open_place
    from s4.kernel.clock import rfc3339
    from s4.kernel.errors import InvalidRequest

    if way.at is not None:
        async with core.database.read() as connection:
            if way.at > await core.database.now(connection):
                raise InvalidRequest(f"{rfc3339(way.at)} has not come yet: nothing is known of it.")
        yield ChainSource(core.database, core.store, core.chains, way.at), ErasedSince()
        return
    assert way.wanted is not None, "checked"
    async with open_place(core.settings) as place:
        manifest = await place.find(way.wanted)
        is_own = manifest.epoch == core.deployment.epoch
        yield BackupSource(place, manifest), await erased_by_place(place, manifest, others_tell=is_own or others_tell)


async def _erased_at(settings: "Settings", url: str | None, *, reads: bool = False) -> "ErasedSince":
    from s4.domains.backup import ErasedSince, erased_in
    from s4.entrypoints.bootstrap import open_own_store

    if url is None:
        return ErasedSince()
    async with open_own_store(settings.model_copy(update={"store_url": url})) as store:
        return await erased_in(store, reads=reads)


def _show_whole(restored: "Restored", way: _Way, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(restored) | {"ok": restored.ok, "dry_run": way.dry_run})
    else:
        for problem in (*restored.problems, *restored.damaged):
            print_note(problem)
        verb = "Would restore" if way.dry_run else "Restored"
        print_line(
            f"{verb} {restored.backup_id}: {restored.objects} objects, {human_size(restored.bytes_written)}; "
            f"{restored.objects_there} were there, {restored.objects_left_out} were erased since."
        )
        if restored.ok and not way.dry_run and restored.counts is not None:
            print_line(
                f"Verified: {restored.counts.documents} documents of {restored.counts.tenants} tenants; "
                f"{searched(restored.samples)}. It can be served."
            )
        elif not restored.ok:
            print_note("It is not sound, and nothing will start on it.")
    if not restored.ok or restored.damaged:
        raise typer.Exit(1)


def _show_tenants(rewound: "list[Rewound]", way: _Way, *, as_json: bool) -> None:
    if as_json:
        print_json({"tenants": [asdict(one) | {"ok": one.ok} for one in rewound], "dry_run": way.dry_run})
    for one in [] if as_json else rewound:
        said = (
            f"{one.brought_back} brought back, {one.changed} changed, {one.removed} removed, {one.unchanged} as before"
        )
        if not one.is_untouched:
            print_line(f"{one.tenant_id} into {one.into}: {said}; {human_size(one.bytes_copied)}.")
        if not way.dry_run and not one.is_untouched:
            then, now = one.then, one.now
            print_line(
                f"Counted: {now.documents} documents, {human_size(now.stored_bytes)}; there were {then.documents}, "
                f"{human_size(then.stored_bytes)}; {one.searches} searches."
            )
        if one.api_key is not None:
            print_line(f"Its key, shown this once: {one.api_key}")
        for document_id in one.lost[:_NAMES_SHOWN]:
            print_note(f"The bytes of {document_id} are not kept any more.")
        for problem in one.problems[:_NAMES_SHOWN]:
            print_note(problem)
        if len(one.problems) > _NAMES_SHOWN:
            print_note(f"And {len(one.problems) - _NAMES_SHOWN} more like these; --json names all.")
        if one.suspended:
            print_note(f"{one.into} stays suspended: run this again, or let it in by `s4 tenant activate {one.into}`.")
        if one.held:
            print_note(f"{one.held} documents are under a legal hold and stay as they are.")
        if one.changed_meanwhile:
            print_note(f"{one.changed_meanwhile} documents were changed meanwhile and stay so; run this again.")
    if not all(one.ok for one in rewound):
        raise typer.Exit(1)
