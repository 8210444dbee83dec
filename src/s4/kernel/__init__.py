"""The vocabulary that every other room speaks: ids, object keys, errors, contexts, settings, units.

Nothing here does I/O, reads a clock of its own or imports a library that does.
"""
