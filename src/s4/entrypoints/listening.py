"""Where processes listen."""

import errno
import socket


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that children do not inherit. Port 0 is a free one. Raises `OSError` when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.listen(2048)  # connections that wait while the loop is busy
    listening.set_inheritable(False)
    return listening


def listen_near(host: str, port: int) -> socket.socket:
    """On `port`, or on a free one while another process has that: a second worker on a machine starts as well."""
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return listen(host, 0)


def url_of(listening: socket.socket, scheme: str = "http") -> str:
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{'[' + host + ']' if ':' in host else host}:{port}"
