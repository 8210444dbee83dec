"""Search as a library: file to text (`extraction`), to chunks (`chunking`), to vectors (`embedding`), to an index
(`vectors`) and back to an ordered list (`ranking`). No HTTP, no SQL, no tenants: what it needs arrives as arguments, so
every room can be tested and measured alone.
"""
