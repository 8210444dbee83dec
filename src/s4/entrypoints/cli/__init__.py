"""The command line, `s4`.

`app` assembles it and turns errors into sentences and exit codes, `options` says who asks whom, `output` writes.
`server_commands` runs the server and `config_commands` looks at its settings; `tenant_commands`, `upload_command` and
`document_commands` talk to one over HTTP by `s4client`. What is heavy is imported when a command runs, so that
`s4 --help` answers at once.
"""

from s4.entrypoints.cli.app import main

__all__ = ["main"]
