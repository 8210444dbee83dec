"""PostgreSQL with pgvector behind the thinnest honest route: what somebody writes who needs no S4.

    python benchmarks/pgvector_route.py postgresql://… 8123 100

One process, a pool of connections, a statement for each request; no tenants, no keys, no limits, no metrics.
The last word is `hnsw.ef_search`.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

POOL_SIZE = 16
_TABLE = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS chunks (
  chunk_id text PRIMARY KEY, document_id text NOT NULL, page integer NOT NULL, text text NOT NULL, embedding vector(384)
);
CREATE INDEX IF NOT EXISTS chunks_embedding ON chunks USING hnsw (embedding vector_cosine_ops)
"""
_NEAREST = """
SELECT chunk_id, document_id, page, text, 1 - (embedding <=> %(vector)s::vector) AS score
FROM chunks ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s
"""


class Rows(BaseModel):
    chunk_ids: list[str]
    document_ids: list[str]
    pages: list[int]
    texts: list[str]
    embeddings: list[list[float]]


class Question(BaseModel):
    embedding: list[float]
    limit: int = 10


def make_app(url: str, *, ef_search: int) -> FastAPI:
    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        await connection.execute(f"SET hnsw.ef_search = {ef_search}")

    pool = AsyncConnectionPool(url, min_size=1, max_size=POOL_SIZE, configure=configure, open=False)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(_TABLE)
        async with pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/chunks", status_code=204)
    async def add_chunks(rows: Rows) -> None:
        columns = (rows.chunk_ids, rows.document_ids, rows.pages, rows.texts, map(json.dumps, rows.embeddings))
        async with (
            pool.connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
            cursor.copy("COPY chunks FROM STDIN") as copy,
        ):
            for row in zip(*columns, strict=True):
                await copy.write_row(row)

    @app.post("/search")
    async def search(question: Question) -> dict[str, Any]:
        given = {"vector": json.dumps(question.embedding), "limit": question.limit}
        async with pool.connection() as connection:
            rows = await (await connection.execute(_NEAREST, given)).fetchall()
        names = ("chunk_id", "document_id", "page", "text", "score")
        return {"results": [dict(zip(names, row, strict=True)) for row in rows]}

    return app


if __name__ == "__main__":
    database, port, breadth = sys.argv[1:]
    app = make_app(database, ef_search=int(breadth))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
