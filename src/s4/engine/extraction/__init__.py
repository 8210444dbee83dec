"""From a file that nobody trusts to text with pages and headings.

Files are hostile until shown otherwise, and the parsers are native code. So they run in a child process
with limits on memory, time and file size, without S4's environment, that dies with its parent:

- `pool` is what the pipeline calls: it keeps children, hands each one file at a time, replaces those that
  fail;
- `process` is one child seen from the parent, `child` the same child from inside, `frames` what they say;
- `sniff` decides what a file is from its bytes, `decode` turns bytes of text into text;
- `readers`, `pdf` and `markup` turn each format into `model.ExtractedText`.

Import the module that you need: this package imports none, so that the child stays small.
"""
