"""Builds the documentation's site: `make docs`. Fails at a link or an anchor that leads nowhere. Needs no network.

Usage: build.py [SOURCE [SITE]]: the repository's root, and where the site goes (build/site).
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SHOWN = ("docs", "deploy", "benchmarks/RESULTS.md", "benchmarks/flames", "LICENSE", "NOTICE")
"""What there is on the site beside the pages of the root: folders whole, since pages lead to files in them."""


def build(source: Path, site: Path) -> int:
    """Lays the pages out beside the site, and makes it of them. Answers with the generator's exit code."""
    laid_out = site.with_name("site-source")
    shutil.rmtree(laid_out, ignore_errors=True)
    for path in [*source.glob("*.md"), *(source / name for name in SHOWN)]:
        if path.exists():
            link = laid_out / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    (laid_out / "site.css").symlink_to(HERE / "site.css")
    text = (HERE / "properdocs.yml").read_text(encoding="utf-8")
    for name, path in {"docs_dir": laid_out, "site_dir": site, "hooks": [str(HERE / "hooks.py")]}.items():
        text = re.sub(rf"^{name}: .*$", f"{name}: {json.dumps(path, default=str)}", text, flags=re.MULTILINE)
    configuration = site.with_name("properdocs.yml")
    configuration.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "--clean", "-f", configuration]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own program and files


if __name__ == "__main__":
    given = [Path(each).resolve() for each in sys.argv[1:]]
    source = given[0] if given else REPOSITORY
    sys.exit(build(source, given[1] if len(given) > 1 else source / "build" / "site"))
