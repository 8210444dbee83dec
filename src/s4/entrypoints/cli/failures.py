"""What becomes of a failure: of a command a sentence, of a process that serves a line of its log."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import typer

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def in_the_log(service: str) -> Iterator[None]:
    """From here to the end of the block all that the process says is a line of its log, and so is why it ends. Unless
    it says it to a terminal, where somebody waits for a sentence."""
    from s4.entrypoints.configuration import early_log_format
    from s4.platform.telemetry import logs

    if sys.stderr.isatty():
        yield
        return
    import structlog

    logs.configure(log_format=early_log_format(), service=service)
    logs.catch_unhandled()
    log = structlog.get_logger()
    try:
        yield
    except KeyboardInterrupt:
        log.warning("process.interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (typer.TyperException, typer.Exit):
        raise
    except Exception as error:
        try:
            said = explain(error)
        except Exception:  # a defect: it comes back as it is
            log.error("process.exception_unhandled", where="main", error=type(error).__name__, exc_info=error)
        else:
            log.error("process.failed", error=said["message"], code=said["code"])
        raise typer.Exit(EXIT_FAILED) from error


def explain(error: Exception) -> dict[str, Any]:
    """The message and code of a foreseen failure. A defect is raised again, with its trace."""
    import s4client
    from s4.kernel.errors import S4Error

    match error:
        case s4client.S4ApiError():
            return {
                "message": error.message,
                "code": error.code,
                "details": error.details,
                "request_id": error.request_id,
            }
        case S4Error():
            from s4.entrypoints.connections import explained

            return {"message": explained(error), "code": error.code, "details": error.details}
        case OverflowError():
            return {"message": "A number or a time is out of range.", "code": "usage"}
        case s4client.S4ConnectionError():
            return {"message": str(error), "code": "connection_failed"}
        case s4client.S4WaitTimeout():
            return {"message": str(error), "code": "timeout"}
        case s4client.S4Error():
            return {"message": str(error), "code": "client_error"}
        case OSError():
            reason = error.strerror or str(error)
            return {"message": f"{error.filename}: {reason}" if error.filename else reason, "code": "file_error"}
        case _:
            raise error
