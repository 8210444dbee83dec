"""Bringing files to the server, and keeping documents equal to a directory: what `s4 upload` and `s4 sync` share.

Every file has a key, its path below the directory that was named, behind a prefix. The key makes a second run cheap:
what the server has under it is compared by size, then by SHA-256, and only what differs is sent.

    selection    which files of a directory count
    files        finds them, one at a time, and names what cannot be uploaded
    documents    what the server has already
    outcomes     what became of a file
    engine       compares, sends and waits, with a bounded number in flight
    extras       what the directory no longer has, and whether it may be deleted
    report       lines, progress, summary and exit code
"""
