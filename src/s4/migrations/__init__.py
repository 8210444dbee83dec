"""Steps of the catalog's schema, `NNNN_pre|post_what.py`.

A `pre` step runs before the new release starts and must leave the old one working; a `post` step runs when no process
of the old release is left. Steps are written out and never changed once released.
"""
