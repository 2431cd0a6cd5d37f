"""The report as a browser lays it out: on a phone and on wide screens, nothing is cut off, and all can be read."""

import html
import json
import re
import shutil
import subprocess

import pytest
from manifests import unsealed

from netpick.exam import plant
from netpick.exam.run import Run
from netpick.report.page import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")

LONG = "a_class_with_a_name_that_no_screen_is_wide_enough_for_" * 4
FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe id="f" style="width: {width}px; height: 2000px; border: 0"
srcdoc="{page}"></iframe><script>
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const light = text => rgb(text).slice(0, 3).map(c => c / 255)
  .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const behind = (e, view) => {{
  for (; e; e = e.parentElement) {{
    const colour = view.getComputedStyle(e).backgroundColor;
    if ((rgb(colour)[3] ?? 1) > 0) return colour;
  }}
}};
document.getElementById('f').onload = event => {{
  const view = event.target.contentWindow, page = view.document;
  for (const each of page.querySelectorAll('details')) each.open = true;
  const boxed = e => e.closest('.scroll, figure, nav');
  const space = page.documentElement.clientWidth;
  const cut = e => e.getBoundingClientRect().right > space + 1;
  const begin = e => e.outerHTML.slice(0, 80);
  const all = [...page.body.querySelectorAll('*')];
  const faint = e => {{
    const [a, b] = [light(view.getComputedStyle(e).color), light(behind(e, view))].sort((x, y) => y - x);
    return (a + .05) / (b + .05) < 4.5;
  }};
  const written = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const out = {{
    page: page.documentElement.scrollWidth - space,
    wide: all.filter(e => !boxed(e) && cut(e)).map(begin),
    boxes: all.filter(e => e.matches('.scroll, figure') && cut(e)).length,
    faint: all.filter(e => !e.closest('figure') && written(e) && faint(e)).map(begin),
    stays: view.getComputedStyle(page.querySelector('nav')).position,
    paper: view.getComputedStyle(page.body).backgroundColor,
    texts: page.querySelectorAll('figure svg text').length,
  }};
  document.title = 'seen ' + JSON.stringify(out);
}};
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report whose names are as long as names can be, as a text that may be looked into."""
    folder = tmp_path_factory.mktemp("wide")
    classes = [f"{LONG}{i}" for i in range(10)]
    plant(folder / "run", 14, 60, epochs=2, failed=1)
    manifest = folder / "run" / "run.toml"
    manifest.write_text(
        re.sub(r"classes = \[.*?\]", f"classes = {json.dumps(classes)}", unsealed(manifest), flags=re.S)
    )
    write_report(Run(folder / "run"), folder / "page.html", names=["scores", "mistakes", "best", "sweep"])
    return (folder / "page.html").read_text("utf-8")


def laid_out(page, folder, width, dark=False):
    # The page forbids scripts: it is looked at from outside, and only there.
    looked_into = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width, page=html.escape(looked_into)), "utf-8")
    out = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
            *("--virtual-time-budget=5000", f"--blink-settings=preferredColorScheme={0 if dark else 1}"),
            *(f"--window-size={width + 40},2100", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    return json.loads(html.unescape(re.search(r"<title>seen (.*?)</title>", out, re.DOTALL)[1]))


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True), (2560, False)])
def test_nothing_is_cut_off_and_all_can_be_read(page, tmp_path, width, dark):
    seen = laid_out(page, tmp_path, width, dark)
    assert seen["page"] <= 0
    assert seen["wide"] == []
    assert seen["boxes"] == 0
    assert seen["faint"] == []
    assert seen["stays"] == "sticky"
    assert (seen["paper"] == "rgb(255, 255, 255)") is not dark
    assert seen["texts"] > 50
