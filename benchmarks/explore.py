"""The page of `netpick explore`: its size, and how long it takes to write, to open, to repaint, and to answer.

Takes the run named by --run, or plants one of 1001 networks × 4 epochs × 10,000 samples × 10 classes first (some
minutes and 1.3 GB, once; keep it with --folder). The page is written in a process of its own, whose peak memory is
taken, imports included, and opened in headless Chromium from its file. A brush is a rectangle that is dragged over the
scatter plot by pointer events, 5 % wider with each: from each event until the browser has painted what came of it, with
a sample, a network and two networks open. Where a run has kept its weights, its live class is asked about ten samples.
Needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from _common import machine, main, new_parser, positive, print_machine, print_table, write_json

WRITE = """
import json, resource, sys, time
from netpick import Run
from netpick.report.explorer.page import write_explorer
start = time.perf_counter()
made = write_explorer(Run(sys.argv[1]), sys.argv[2], max_size=int(float(sys.argv[3]) * 1e6))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - start, "peak_mb": peak, "bytes": made.bytes, "samples": made.samples,
                  "live": made.live}))
"""

BRUSH = """
const [done] = arguments, plot = document.querySelector('#scatter'), box = plot.getBoundingClientRect(), out = [];
const painted = () => new Promise(go => requestAnimationFrame(() => { const c = new MessageChannel();
  c.port1.onmessage = go; c.port2.postMessage(0); }));
const send = (type, x, y) => plot.dispatchEvent(new PointerEvent(type, {pointerId: 1, bubbles: true, buttons: 1,
  clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
plot.setPointerCapture = () => {};
(async () => {
  send('pointerdown', .1, .02);
  for (let x = .15; x < .99; x += .05) {
    await painted();
    const start = performance.now();
    send('pointermove', x, .9);
    do await painted(); while (netpick.frame || netpick.asked);
    out.push(performance.now() - start);
  }
  send('pointerup', .98, .9);
  done(out);
})();
"""

ASK = """
const [done] = arguments, live = document.querySelector('#view-live'), out = [];
(async () => {
  for (let i = 0; i < 11; i++) {
    netpick.set({live: {i}});
    do await new Promise(go => setTimeout(go, 50));
    while (netpick.state.live.i !== i || live.dataset.state !== 'answered');
    out.push(live.querySelector('.took').innerText.match(/[\\d,]+/g).map(n => +n.replace(',', '')));
  }
  done(out.slice(1)); // the first makes numbers of all bytes
})();
"""


def browser(profile: str):
    """Start Chromium, with nothing of the user's own in it."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def opened(driver, url: str, fragment: str = "") -> dict[str, float]:
    """Open the page; return seconds until it can be used, and until the answers of all epochs are read."""
    driver.get("about:blank")
    start = time.perf_counter()
    driver.get(url + fragment)
    out = {}
    for state in ("ready", "whole"):
        wanted = ("whole",) if state == "whole" else ("ready", "whole")
        while driver.execute_script("return document.documentElement.dataset.state") not in wanted:
            time.sleep(0.01)
        out[state] = time.perf_counter() - start
    return out


def sizes(page: Path) -> dict[str, int]:
    """Return the bytes of the page by kind of block."""
    out: dict[str, int] = {}
    text = page.read_text("utf-8")
    for name, content in re.findall(r'id="block-([\w-]+)">([^<]*)<', text):
        kind = re.split("[-_]", name)[0]
        out[kind] = out.get(kind, 0) + len(content)
    out["sources and head"] = len(text) - sum(out.values())
    return out


def work() -> int:
    """Write the page, open it, brush."""
    from netpick.exam import plant

    parser = new_parser(__doc__)
    parser.add_argument("--run", metavar="FOLDER", help="the page of this run")
    parser.add_argument("--folder", help="write the planted run there and leave it; else in a temporary folder")
    parser.add_argument("--networks", type=positive, default=1001, help="networks of the planted run (%(default)s)")
    parser.add_argument("--samples", type=positive, default=10_000, help="samples of the planted run (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=4, help="epochs of the planted run (%(default)s)")
    parser.add_argument("--scores", choices=["all", "last", "none"], default="all", help="of its epochs (%(default)s)")
    parser.add_argument("--max-size", type=float, default=20, metavar="MB", help="of the page (%(default)s)")
    options = parser.parse_args()
    facts = machine()
    print_machine(facts)
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(options.run or options.folder or f"{scratch}/planted")
        if not run.exists():
            design = {"epochs": options.epochs, "scores": options.scores, "shape": (1, 28, 28), "compact": True}
            plant(run, options.networks, options.samples, **design)
        page = Path(scratch) / "explore.html"
        written = subprocess.run(
            [sys.executable, "-c", WRITE, str(run), str(page), str(options.max_size)],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        made = json.loads(written.stdout.splitlines()[-1])
        made["parts"] = sizes(page)
        driver = browser(f"{scratch}/profile")
        try:
            made["opened"] = opened(driver, page.as_uri())
            for what, fragment in (("plain", ""), ("a sample and a network", "#i=5&n=7"), ("two", "#i=5&n=7&o=9")):
                opened(driver, page.as_uri(), fragment)
                driver.execute_async_script(BRUSH)  # what is compiled is compiled
                made.setdefault("brush_ms", {})[what] = driver.execute_async_script(BRUSH)
            if made["live"]:
                driver.set_script_timeout(120)
                made["answers_ms"] = driver.execute_async_script(ASK)
        finally:
            driver.quit()
    rows = [
        ("written, s", f"{made['seconds']:.1f}"),
        ("peak memory, MB", f"{made['peak_mb']:,.0f}"),
        ("page, MB", f"{made['bytes'] / 1e6:.2f}"),
        *((f"  {name}, MB", f"{size / 1e6:.2f}") for name, size in made["parts"].items()),
        ("samples", f"{made['samples']:,}"),
        ("can be used after, s", f"{made['opened']['ready']:.2f}"),
        ("all epochs read after, s", f"{made['opened']['whole']:.2f}"),
        *(
            (
                f"brush to repaint, ms, {what}: lower quartile, median, longest",
                f"{quantiles(times)[0]:.0f}, {median(times):.0f}, {max(times):.0f}",
            )
            for what, times in made["brush_ms"].items()
        ),
    ]
    if made["live"]:
        rows += [
            ("networks of the live class", f"{made['live']:,}"),
            ("  bytes a network", f"{made['parts']['live'] / made['live']:,.0f}"),
            ("  ms an answer, median", f"{median(ms / count for count, ms in made['answers_ms']):.2f}"),
        ]
    print_table(f"The page of {run}", ["", ""], rows)
    write_json(options.json, {"machine": facts, **made})
    return 0


if __name__ == "__main__":
    main(work)
