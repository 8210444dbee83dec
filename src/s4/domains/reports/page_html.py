"""A report as one page of HTML: its style and its charts (SVG) are in it; no script, and nothing is fetched."""

from html import escape

from s4.domains.reports.page import Chart, Page, Table

_WIDTH, _HEIGHT, _LEFT, _BELOW = 720, 180, 70, 22  # of a chart, in its own units; the page scales it
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  background: #fff }
.table { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
h1, p, li { overflow-wrap: anywhere }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: right }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 0 } svg { width: 100%; height: auto } figcaption { color: #555 }
.lead { font-weight: 600 } rect { fill: #2b6cb0 } text { font-size: 11px; fill: #555 } line { stroke: #999 }
@media print { body { margin: 0 } .table { overflow: visible } }
"""


def as_html(page: Page) -> str:
    parts = [f"<h1>{escape(page.title)}</h1>", f'<p class="lead">{escape(page.lead)}</p>']
    for section in page.sections:
        parts.append(f"<section><h2>{escape(section.title)}</h2>")
        parts += [_html(part) for part in section.parts]
        parts.append("</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _html(part: str | Table | Chart) -> str:
    match part:
        case str():
            return f"<p>{escape(part)}</p>"
        case Table():
            head = "".join(f'<th scope="col">{escape(each)}</th>' for each in part.headings)
            rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in part.rows)
            return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        case Chart():
            return _figure(part)


def _figure(chart: Chart) -> str:
    most = max((value for _, value in chart.points if value is not None), default=0.0)
    caption = f"<figcaption>{escape(chart.title)}, {escape(chart.unit)}</figcaption>"
    drawn = _bars(chart, most) if most > 0 else f'<text x="{_LEFT}" y="{_HEIGHT // 2}">nothing but zeros</text>'
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
        f'<line x1="{_LEFT}" y1="{_HEIGHT - _BELOW}" x2="{_WIDTH}" y2="{_HEIGHT - _BELOW}"/>{drawn}</svg>'
        f"{caption}</figure>"
    )


def _bars(chart: Chart, most: float) -> str:
    """A bar says its value to whoever points at it. Every so many are named, so that names do not overlap."""
    step = (_WIDTH - _LEFT) / len(chart.points)
    room = _HEIGHT - _BELOW - 12
    named_every = max(1, round(60 / step))
    drawn = [f'<text x="0" y="16">{_short(most)}</text>', f'<text x="0" y="{_HEIGHT - _BELOW}">0</text>']
    for place, (name, value) in enumerate(chart.points):
        x, height = _LEFT + place * step, room * (value or 0.0) / most
        said = "nothing known" if value is None else _short(value)
        drawn.append(
            f'<rect x="{x:.1f}" y="{_HEIGHT - _BELOW - height:.1f}" width="{max(1.0, step - 2):.1f}" '
            f'height="{height:.1f}"><title>{escape(name)}: {said}</title></rect>'
        )
        if place % named_every == 0:
            drawn.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}">{escape(name)}</text>')
    return "".join(drawn)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
