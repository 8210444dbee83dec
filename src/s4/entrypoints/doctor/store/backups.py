"""Whether backups would survive what they are for. Looks at the settings alone, and writes nothing where they lie."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from s4.entrypoints.doctor.report import Check, ok, warning
from s4.kernel.settings import Settings

_NAME = "backups"
_ELSEWHERE = "Set S4_BACKUP_URL to a bucket of another account, in another region."


def backups(settings: Settings) -> Check:
    """What the store and its backups have in common, and so may lose together."""
    store, place = urlsplit(settings.store_url or ""), urlsplit(settings.backup_url or settings.store_url or "")
    if settings.backup_every_hours == 0:
        return warning(
            _NAME,
            "Nobody makes backups by the clock.",
            "Set S4_BACKUP_EVERY_HOURS, and S4_BACKUP_URL to another place.",
        )
    if (store.scheme, store.netloc) == (place.scheme, place.netloc) and place.scheme in ("s3", "gs"):
        return warning(_NAME, f"Backups lie in the bucket that they are of, {store.netloc}.", _ELSEWHERE)
    if store.scheme == place.scheme == "file":
        return _directories(Path(unquote(store.path)), Path(unquote(place.path)))
    if store.scheme == place.scheme == "s3":
        if settings.backup_access_key_id in (None, settings.store_access_key_id):
            return warning(
                _NAME,
                "The credentials of the store are also those of its backups: who has them can delete both.",
                "Set S4_BACKUP_ACCESS_KEY_ID to an identity of another account that may not delete, and "
                "S4_BACKUP_PRUNE to false.",
            )
        same_region = settings.backup_region in (None, settings.store_region)
        if settings.backup_endpoint in (None, settings.store_endpoint) and same_region:
            return warning(_NAME, f"Backups lie in the store's region, {settings.store_region}.", _ELSEWHERE)
    return ok(_NAME, f"Backups go to {settings.backup_url}, every {settings.backup_every_hours:g} hours.")


def _directories(store: Path, place: Path) -> Check:
    """Directories that are not there yet are where their parents are."""
    if place == store or store in place.parents or _device(store) == _device(place):
        return warning(
            _NAME,
            "Backups lie on the disk that they are of.",
            "Set S4_BACKUP_URL to another machine's disk, or a bucket.",
        )
    return ok(_NAME, f"Backups go to {place}, another disk.")


def _device(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return path.stat().st_dev
