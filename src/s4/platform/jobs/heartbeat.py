"""Extends leases from a thread with a connection of its own, so that neither computation nor a blocked event loop
lets them run out. When the process is stopped (SIGSTOP), the thread stops too: then the leases expire, as they must.

A network may forget a connection without a word to either end. So a beat that is not answered in time is hung up on,
and the next one connects anew, while the leases still stand.
"""

import contextlib
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from s4.platform.database import end_what_falls_silent
from s4.platform.jobs.held import Held
from s4.platform.jobs.models import jobs, leases

log = structlog.get_logger()


class Heartbeat:
    """Beats for the jobs and leases that one owner knows to hold, as long as they have not expired."""

    def __init__(self, database_url: str, *, owner: str, lease: timedelta, held: Held) -> None:
        self._url = sa.make_url(database_url)
        self._owner = owner
        self._lease = lease
        self._held = held
        self._stop = threading.Event()
        self._connection: Any = None  # the driver's, of PostgreSQL
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; leases then last at most as long as the last beat gave them."""
        self._stop.set()
        self._thread.join(timeout=self._lease.total_seconds())

    def _run(self) -> None:
        engine = self._engine()
        # Three beats fit into a lease: two may fail before it is lost.
        regular = self._lease.total_seconds() / 3
        pause = regular
        while not self._stop.wait(pause):
            try:
                self._beat_in_time(engine)
                pause = regular
            except sa.exc.SQLAlchemyError as error:
                log.warning("heartbeat.failed", error=str(error.__class__.__name__))
                pause = regular / 8  # what hung has cost a pause already; the next one must still come in time
        engine.dispose()

    def _beat_in_time(self, engine: sa.Engine) -> None:
        late = threading.Timer(self._lease.total_seconds() / 3, self._hang_up)
        late.start()
        try:
            self._beat(engine)
        finally:
            late.cancel()

    def _remember(self, connection: Any, _: object) -> None:
        self._connection = connection

    def _hang_up(self) -> None:
        """Ends the wait for an answer on PostgreSQL's connection, as if the server had closed it."""
        with contextlib.suppress(Exception):  # closed meanwhile: nothing waits on it
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def _engine(self) -> sa.Engine:
        wait_seconds = max(2, int(self._lease.total_seconds() / 3))
        if self._url.get_backend_name() == "sqlite":
            return sa.create_engine(
                self._url.set(drivername="sqlite"),
                poolclass=sa.pool.NullPool,
                connect_args={"timeout": wait_seconds},
            )
        engine = sa.create_engine(
            self._url.set(drivername="postgresql+psycopg"),
            pool_size=1,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"connect_timeout": wait_seconds, "prepare_threshold": None},
        )
        sa.event.listen(engine, "connect", self._remember)
        end_what_falls_silent(engine, after_seconds=self._lease.total_seconds())
        return engine

    def _beat(self, engine: sa.Engine) -> None:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                now: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
            else:
                now = datetime.now(UTC)
            until = now + self._lease
            # What a transaction has locked is passed over until the next beat: one that waits, for whatever else it
            # locks, must not hold up the beat of all that this process does. Nobody can take it away meanwhile.
            mine = sa.select(jobs.c.job_id).where(
                jobs.c.state == "running",
                jobs.c.lease_owner == self._owner,
                jobs.c.lease_token.in_(self._held.job_tokens),
                jobs.c.lease_until > now,
            )
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.job_id.in_(mine.with_for_update(skip_locked=True)))
                .values(lease_until=until)
            )
            held = sa.select(leases.c.name).where(
                leases.c.owner == self._owner, leases.c.name.in_(self._held.lease_names), leases.c.until > now
            )
            connection.execute(
                sa.update(leases).where(leases.c.name.in_(held.with_for_update(skip_locked=True))).values(until=until)
            )
