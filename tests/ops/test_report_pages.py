"""Reports as a reader sees them: in a browser, on a screen, on a phone and on paper."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from tests.factories.calls import put
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment

pytestmark = pytest.mark.ops

LONG_NAME = "A tenant with <b>a name</b> & so long that no column is wide enough for it"
SCREEN, PHONE = (1280, 900), (390, 844)
LOOK = """
const box = element => element.getBoundingClientRect();
const apart = (a, b) => a.right <= b.left + .5 || b.right <= a.left + .5
  || a.bottom <= b.top + .5 || b.bottom <= a.top + .5;
const charts = [...document.querySelectorAll('svg')].map(svg => {
  const outer = box(svg), texts = [...svg.querySelectorAll('text')].map(box);
  return {
    name: svg.getAttribute('aria-label'),
    width: outer.width,
    height: outer.height,
    bars: [...svg.querySelectorAll('rect')].filter(rect => box(rect).height > 1).length,
    fill: getComputedStyle(svg.querySelector('rect') || svg).fill,
    outside: [...svg.querySelectorAll('rect, text')].map(box)
      .filter(it => it.left < outer.left - 1 || it.top < outer.top - 1 || it.bottom > outer.bottom + 1).length,
    overlapping: texts.filter((one, place) => texts.slice(place + 1).some(other => !apart(one, other))).length,
  };
});
return {
  title: document.title,
  headings: [...document.querySelectorAll('h1, h2')].filter(it => box(it).height > 0).length,
  cells: [...document.querySelectorAll('td')].filter(it => box(it).width > 0).length,
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  charts,
};
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both reviews of a deployment that was used, each one file."""
    folder = tmp_path_factory.mktemp("reports")
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    deployment = Deployment(folder / "data", environment, ("--no-worker",)).start()
    try:
        with deployment.new_tenant(LONG_NAME) as tenant:
            for number in range(20):
                put(tenant, f"tides-{number}.txt", b"Tides follow the moon.", {})
                tenant.get("/documents").raise_for_status()
    finally:
        deployment.stop()  # which writes down what was counted
    made = {name: folder / f"{name}.html" for name in ("performance", "cost")}
    for name, page in made.items():
        command = [sys.executable, "-m", "s4.entrypoints.cli", "report", name, "--data-dir", str(folder / "data")]
        done = subprocess.run(
            [*command, "--html", str(page)], env=clean_environment() | environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return made


def seen(browser: Chrome, page: Path, size: tuple[int, int]) -> dict[str, Any]:
    browser.set_window_size(*size)
    browser.get(page.as_uri())
    looked: dict[str, Any] = browser.execute_script(LOOK)
    return looked


@pytest.mark.parametrize("name", ["performance", "cost"])
@pytest.mark.parametrize("size", [SCREEN, PHONE])
def test_a_report_is_seen_whole(browser: Chrome, pages: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    looked = seen(browser, pages[name], size)
    assert name in looked["title"].lower()
    assert looked["headings"] > 2
    assert looked["cells"] > 10
    assert looked["wider"] <= 0, "nobody has to scroll sideways"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []  # type: ignore[no-untyped-call]
    for chart in looked["charts"]:
        assert chart["width"] > size[0] / 3, chart
        assert chart["height"] > 50, chart
        assert chart["outside"] == 0, chart
        assert chart["overlapping"] == 0, chart


def test_what_was_used_is_a_bar_in_its_colour(browser: Chrome, pages: dict[str, Path]) -> None:
    charts = seen(browser, pages["performance"], SCREEN)["charts"]
    assert len(charts) == 4
    drawn = [chart for chart in charts if chart["bars"]]
    assert drawn, "requests were made today"
    assert {chart["fill"] for chart in drawn} == {"rgb(43, 108, 176)"}, "the page's own style is let in"
