"""Search as a library: files to text, text to chunks, chunks to vectors, vectors to passages. No HTTP, no SQL."""
