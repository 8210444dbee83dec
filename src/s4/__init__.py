"""S4: a self-hosted, multi-tenant semantic file store.

Where things live: `kernel` is pure vocabulary, `platform` the outside world, `engine` search as a library,
`domains` the business in a staircase, `entrypoints` the processes. Imports point down. See ARCHITECTURE.md.
"""

__version__ = "0.1.0"
