"""Search as a library: files to text, text to chunks, chunks to vectors, vectors to ranked passages. No HTTP, no SQL."""
