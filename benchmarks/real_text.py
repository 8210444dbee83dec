"""Short passages of real text, embedded once: what approximate search is measured on.

    python benchmarks/real_text.py --passages 100000     about half an hour of a core; stopped, it goes on next time

The text is what Debian's packages carry on this machine: manual pages and the documentation below /usr/share/doc.
It is cut into passages of some 25 words, without repetitions, and embedded by the bundled model. Text and vectors stay
in a cache outside the repository, so that every later run measures the same.
"""

import argparse
import asyncio
import gzip
import html
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from figures import print_text
from numpy.typing import NDArray

from s4.engine.embedding.local import LocalEmbedder

WORDS_PER_PASSAGE = 25
WORDS_PER_PASSAGE_MIN = 10
WORDS_PER_QUERY = 8
PASSAGES_PER_FILE_MAX = 200  # so that no large manual outweighs all others
LETTERS_PART_MIN = 0.75  # of a passage; the rest of such files are tables, code and change logs
QUERIES = 400
PART_PASSAGES = 2_000  # embedded and kept at a time
SEED = 53
_PLACES = ("/usr/share/man/man[1-8]", "/usr/share/doc")
_NOT_DEBIANS = re.compile(r"/man1/gcloud|/google-cloud")
_WANTED = re.compile(r"/man\d/|\.(html?|txt|md|rst|info)(\.gz)?$|/(README|NEWS|FAQ|HACKING|TODO)[^/]*$")
_MARKUP = re.compile(r"(?s)<(script|style).*?</\1>|<[^>]*>")
_ROFF = re.compile(r"\\f(\[[^]]*\]|\(..|.)|\\\*(\[[^]]*\]|\(..|.)|\\[&|^/,]|\\s[-+]?\d")


@dataclass(frozen=True, slots=True)
class RealText:
    """Unit vectors, a row each. Queries are eight words out of passages that are not among these."""

    passages: list[str]
    vectors: NDArray[np.float32]
    queries: list[str]
    query_vectors: NDArray[np.float32]


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "s4-benchmarks", "real-text")


def load(*, passages_max: int) -> RealText:
    """What `embed` left in the cache, at most so many. Raises `RuntimeError` when there is nothing."""
    folder = cache_folder()
    parts = sorted(folder.glob("vectors-*.npy"))[: -(-passages_max // PART_PASSAGES)]
    if not parts or not (folder / "queries.npy").exists():
        raise RuntimeError("Nothing is embedded yet: python benchmarks/real_text.py")
    texts = json.loads((folder / "texts.json").read_text("utf-8"))
    vectors = np.concatenate([np.load(part) for part in parts])[:passages_max]
    return RealText(texts["passages"][: len(vectors)], vectors, texts["queries"], np.load(folder / "queries.npy"))


async def embed(*, passages: int, threads: int) -> None:
    """Goes on where an earlier run stopped."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    texts = _texts(folder, passages)
    embedder = LocalEmbedder(threads=threads)
    if not (folder / "queries.npy").exists():
        _save(folder / "queries.npy", await embedder.embed_documents(texts["queries"]))
    for number, start in enumerate(range(0, min(passages, len(texts["passages"])), PART_PASSAGES)):
        part = folder / f"vectors-{number:05d}.npy"
        if not part.exists():
            _save(part, await embedder.embed_documents(texts["passages"][start : start + PART_PASSAGES]))
            print_text(f"{start + PART_PASSAGES} passages are embedded")
    await embedder.aclose()


def _save(path: Path, vectors: NDArray[np.float32]) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.save(file, vectors)
    unfinished.rename(path)


def _texts(folder: Path, passages: int) -> dict[str, list[str]]:
    """The same for ever once they are chosen."""
    chosen = folder / "texts.json"
    if chosen.exists():
        texts: dict[str, list[str]] = json.loads(chosen.read_text("utf-8"))
        return texts
    shuffled = sorted(set(_passages()))
    drawn = random.Random(SEED)
    drawn.shuffle(shuffled)
    asked, kept = shuffled[:QUERIES], shuffled[QUERIES : QUERIES + passages]
    texts = {"passages": kept, "queries": [_query(passage, drawn) for passage in asked]}
    print_text(f"{len(shuffled)} passages are here, {len(kept)} are taken")
    unfinished = chosen.with_suffix(".part")
    unfinished.write_text(json.dumps(texts), "utf-8")
    unfinished.rename(chosen)
    return texts


def _query(passage: str, drawn: random.Random) -> str:
    words = passage.split()
    first = drawn.randrange(max(1, len(words) - WORDS_PER_QUERY))
    return " ".join(words[first : first + WORDS_PER_QUERY])


def _passages() -> Iterator[str]:
    for place in _PLACES:
        for path in sorted(path for root in Path("/").glob(place[1:]) for path in root.rglob("*")):
            name = str(path)
            if path.is_file() and not path.is_symlink() and _WANTED.search(name) and not _NOT_DEBIANS.search(name):
                yield from _cut(_plain(name, _read(path)))


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")
    except OSError:
        return ""


def _plain(name: str, text: str) -> str:
    """Without markup; an empty line between paragraphs."""
    if re.search(r"/man\d/", name):
        lines = ("" if line.startswith((".", "'")) else line for line in text.splitlines())
        return _ROFF.sub("", "\n".join(lines)).replace("\\-", "-").replace("\\e", "\\")
    if ".htm" in name:
        return html.unescape(_MARKUP.sub(" ", text.replace("<p", "\n\n<p").replace("<li", "\n\n<li")))
    return text


def _cut(text: str) -> Iterator[str]:
    found = 0
    for paragraph in re.split(r"\n\s*\n", text):
        words = paragraph.split()
        for start in range(0, len(words), WORDS_PER_PASSAGE):
            passage = " ".join(words[start : start + WORDS_PER_PASSAGE])
            if min(WORDS_PER_PASSAGE, len(words) - start) < WORDS_PER_PASSAGE_MIN or not _is_prose(passage):
                continue
            yield passage
            found += 1
            if found == PASSAGES_PER_FILE_MAX:
                return


def _is_prose(passage: str) -> bool:
    return sum(map(str.isalpha, passage)) >= LETTERS_PART_MIN * len(passage) and len(passage) < 12 * WORDS_PER_PASSAGE


def main() -> int:
    parser = argparse.ArgumentParser(description="Real passages and their vectors, kept in a cache.")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(embed(passages=options.passages, threads=options.threads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
