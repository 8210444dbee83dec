"""Text and markup: too long, too deep, too wide, or written against the expressions that read it."""

from tests.factories.hostile.model import Shelf

FILES = Shelf()
_LINE_BYTES = 200_000_000
_LEGAL_CHARS = 19_999_990
"""Just below the default of `extraction_text_chars_max`: the worst that is taken."""

_LAUGHS = "<!DOCTYPE lolz [<!ENTITY l0 'lol'>{}]>".format(
    "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
)
_QUADRATIC = f"<!DOCTYPE q [<!ENTITY a '{'a' * 100_000}'>]>"
_EXTERNAL = "<!DOCTYPE x [<!ENTITY secret SYSTEM 'file:///etc/passwd'>]>"
_PARSED = ("ready", "corrupt", "empty", "resource_limit", "text_too_long")
"""What a parser of markup may say; the corpus asks that it says so in time."""


def _words(count: int) -> bytes:
    return (b"words without an end " * (count // 21 + 1))[:count]


for _suffix, _before, _after in (
    ("txt", b"", b""),
    ("csv", b"a,b\n", b""),
    ("json", b'{"a": "', b'"}'),
    ("md", b"# ", b""),
):
    FILES.add(f"one line of 200 MB, {_suffix}", f"line.{_suffix}", "text_too_long", heavy=True)(
        lambda before=_before, after=_after: before + _words(_LINE_BYTES) + after
    )
FILES.add("one line of 200 MB, html", "line.html", "text_too_long", "resource_limit", heavy=True)(
    lambda: b"<html><body><p>" + _words(_LINE_BYTES) + b"</p></body></html>"
)

for _suffix, _open, _close in (("json", b"[", b"]"), ("xml", b"<a>", b"</a>"), ("html", b"<div>", b"</div>")):
    for _exponent in (5, 6):
        FILES.add(f"10^{_exponent} levels, {_suffix}", f"deep.{_suffix}", *_PARSED, heavy=_exponent == 6)(
            lambda before=_open, after=_close, depth=10**_exponent: before * depth + b"bottom" + after * depth
        )

for _suffix in ("xml", "svg", "xhtml"):
    for _name, _doctype, _body in (
        ("billion laughs", _LAUGHS, "&l9;"),
        ("quadratic blow-up", _QUADRATIC, "&a;" * 100_000),
        ("external entity", _EXTERNAL, "&secret;"),
    ):
        FILES.add(f"{_name}, {_suffix}", f"entities.{_suffix}", *_PARSED)(
            lambda doctype=_doctype, body=_body: (
                f"<?xml version='1.0'?>{doctype}<html><p>{body} words</p></html>".encode()
            )
        )


@FILES.add("nothing", "empty.txt", "empty")
def nothing() -> bytes:
    return b""


@FILES.add("blanks only", "blank.txt", "empty")
def blanks() -> bytes:
    return b" \n\t" * 1_000_000


@FILES.add("NUL bytes only", "nul.txt", "empty", "unsupported_format")
def nul_bytes() -> bytes:
    return bytes(1_000_000)


@FILES.add("NUL bytes between words", "between.txt", "ready")
def nul_bytes_between_words() -> bytes:
    return b"words\x00 and\x00 more words, quite a few of them\n" * 1000


@FILES.add("NUL bytes in json", "nul.json", "ready")
def nul_bytes_in_json() -> bytes:
    return b'{"a": "\x00\\u0000\\ud800"}' * 10


@FILES.add("invalid UTF-8 of every kind", "broken.txt", "ready", "unsupported_format")
def invalid_utf8() -> bytes:
    return b"word \xc0\xaf \xed\xa0\x80 \xf8\x88\x80\x80\x80 \xfe\xff word and more words\n" * 1000


# -- against regular expressions


for _name, _run in (
    ("brackets", b"["),
    ("bracket pairs", b"[a]("),
    ("images", b"!["),
    ("stars", b"*"),
    ("spaced stars", b"*a "),
    ("doubled stars", b"**a"),
    ("underscores", b"__a "),
    ("bars", b"|"),
    ("backslashes", b"\\"),
    ("ticks", b"`a"),
    ("hashes", b"#"),
    ("rules", b"-"),
    ("angle brackets", b"<"),
    ("quotes", b"> "),
    ("blanks", b" " * 400 + b"b"),
    ("addresses that never end", b"![]("),
    ("labels that never end", b"[a" * 20 + b"]"),
):
    FILES.add(f"markdown of {_name}", "runs.md", "ready", "empty")(
        lambda run=_run: b"# title\n\n" + run * (2_000_000 // len(run)) + b"\n"
    )
    FILES.add(f"heading of {_name}", "heading.md", "ready", "empty")(
        lambda run=_run: b"".join([b"# " + run * (1190 // len(run)) + b"\n"] * 1000)
    )


@FILES.add("html of heads that never end", "heads.html", "ready", "empty")
def html_of_heads_that_never_end() -> bytes:
    return b"<html>" + b"<head ><svg >" * 150_000 + b"words"


@FILES.add("html of titles that never end", "titles.html", "ready", "empty")
def html_of_titles_that_never_end() -> bytes:
    return b"<html>" + b"<title>a" * 250_000 + b"words"


@FILES.add("html of 10^6 open tags of many kinds", "tags.html", *_PARSED, heavy=True)
def html_of_many_open_tags() -> bytes:
    return b"<b><i><a href=x><table><tr><td><p>" * 150_000 + b"words"


@FILES.add("html of an attribute without end", "attribute.html", *_PARSED)
def html_of_an_attribute_without_end() -> bytes:
    return b"<html><p " + b"a=b " * 1_000_000 + b">words</p></html>"


@FILES.add("html of a table of 10^6 cells", "cells.html", *_PARSED, heavy=True)
def html_of_many_cells() -> bytes:
    return b"<table>" + (b"<tr>" + b"<td>x" * 1000) * 1000 + b"</table>"


@FILES.add("html of a colspan without end", "colspan.html", *_PARSED)
def html_of_a_giant_colspan() -> bytes:
    return b"<table>" + b"<tr><td colspan=1000000000 rowspan=1000000000>x<td>words" * 100 + b"</table>"


@FILES.add("front matter that never ends", "front.md", "ready")
def front_matter_that_never_ends() -> bytes:
    return b"---\n" + b"title: a\n--\n" * 300_000


@FILES.add("front matter with a title of blanks", "title.md", "ready")
def front_matter_with_a_title_of_blanks() -> bytes:
    return b"---\ntitle: a" + b" " * 2_000_000 + b"b\n---\nwords\n"


# -- tables, groups, mail


@FILES.add("csv of 10^6 columns", "wide.csv", "ready", "text_too_long")
def csv_of_many_columns() -> bytes:
    return b"\n".join([b"a," * 1_000_000] * 3)


@FILES.add("csv of a quote that never ends", "quote.csv", "ready")
def csv_of_an_open_quote() -> bytes:
    return b'a,b\n"' + b"never closed, \n" * 500_000


@FILES.add("csv of rows of every length", "ragged.csv", "ready")
def csv_of_ragged_rows() -> bytes:
    return b"a,b\n" + b"x\n" * 500_000 + b"," * 500_000 + b"end\n"


@FILES.add("csv of quotes", "quotes.csv", "ready", "empty")
def csv_of_quotes() -> bytes:
    return b'"' * 2_000_001


@FILES.add("rtf of 10^5 groups", "groups.rtf", *_PARSED)
def rtf_of_deep_groups() -> bytes:
    return rb"{\rtf1 " + b"{" * 100_000 + b"bottom" + b"}" * 100_000 + b"}"


@FILES.add("rtf of 10^6 groups", "groups.rtf", *_PARSED)
def rtf_of_deeper_groups() -> bytes:
    return rb"{\rtf1 " + b"{" * 1_000_000 + b"bottom" + b"}" * 1_000_000 + b"}"


@FILES.add("rtf of a binary without end", "binary.rtf", *_PARSED)
def rtf_of_a_giant_binary() -> bytes:
    return rb"{\rtf1 words \bin2147483647 " + b"x" * 1000 + rb"\u-99999999999999? \'zz more}"


@FILES.add("mail of 10^5 nested parts", "nested.eml", *_PARSED)
def mail_of_nested_parts() -> bytes:
    opening = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(100_000))
    return b"From: a@b.c\nSubject: deep\nMIME-Version: 1.0\n" + opening + b"\nbottom\n"


@FILES.add("mail within mail, 10^5 deep", "forwarded.eml", *_PARSED)
def mail_within_mail() -> bytes:
    return b"MIME-Version: 1.0\n" + b"Content-Type: message/rfc822\n\nSubject: again\n" * 100_000 + b"\nbottom\n"


@FILES.add("mail of 10^5 headers", "headers.eml", *_PARSED)
def mail_of_many_headers() -> bytes:
    return b"From: a@b.c\n" + b"".join(b"X-%d: value\n" % n for n in range(100_000)) + b"\nwords\n"


@FILES.add("mail of a header without end", "header.eml", "ready")
def mail_of_a_long_header() -> bytes:
    return (
        b"From: a@b.c\nTo: "
        + b"<a@b.c>, (comment) \n " * 100_000
        + b"\nSubject: =?utf-8?q?"
        + b"=C3" * 200_000
        + b"?=\n\nwords\n"
    )


@FILES.add("mail of comments in comments", "comments.eml", *_PARSED)
def mail_of_nested_comments() -> bytes:
    return b"From: " + b"(" * 100_000 + b"a@b.c\nSubject: x\nMIME-Version: 1.0\n\nwords\n"


@FILES.add("mail of a hundred thousand parts", "parts.eml", *_PARSED, heavy=True)
def mail_of_many_parts() -> bytes:
    return b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 100_000 + b"--b--\n"


@FILES.add("notebook of deep lists", "deep.ipynb", "ready")
def notebook_of_deep_lists() -> bytes:
    return b'{"cells": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@FILES.add("yaml of laughing anchors", "anchors.yaml", "ready")
def yaml_of_laughing_anchors() -> bytes:
    return b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d, " % (n - 1) * 10) for n in range(1, 12))


# -- the worst texts that are legal


for _name, _piece in (
    ("letters without a blank", "a"),
    ("blanks and one word", " "),
    ("line ends and one word", "\n"),
    ("combining characters", "e\u0301\u0327\u0323"),
    ("emoji", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    ("ideographs", "\u4e00"),
    ("Hangul", "\ud55c"),
    ("headings", "# a\n"),
    ("empty headings", "#\n"),
    ("one-word paragraphs", "a\n\n"),
    ("stops", "."),
    ("form feeds", "a\f"),
):
    FILES.add(f"20 million characters of {_name}", "legal.md", "ready", "text_too_long", "empty", heavy=True)(
        lambda piece=_piece: f"{piece * ((_LEGAL_CHARS - 6) // len(piece))} word".encode()
    )
