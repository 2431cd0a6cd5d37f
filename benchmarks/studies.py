"""Write docs/studies.md: what studies published beside what finished runs of their templates measured.

    python benchmarks/studies.py [--runs runs] [--to docs/studies.md]

What was published, and what is to be remarked, is in studies.toml. Works on what is there: a run that is missing, or
not finished, is said to be. Trains nothing.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
from _studies import figures as beside
from _studies.findings import findings, quantiles
from _studies.line import NEAR_BEST, SHARE, WITHIN, Line
from _studies.rows import extent, line, read_off

from netpick import Run, exam
from netpick.core.errors import NetpickError
from netpick.exam import Answer
from netpick.report.figures import shrunk

WIDE, BYTES = 1100, 150_000
"""Pixels and bytes that a figure has at most."""

HEAD = f"""# Studies

What five studies published, beside what their templates measured here. `python benchmarks/studies.py` writes this page
from finished runs: numbers, figures, and what questions say.

An accuracy agrees where the mean of the replicates is within {exam.points(WITHIN)} of the published one, unless a line
says otherwise; published accuracies are of one training each. A curve is compared with the range of the seeds, epoch by
epoch, and where a text fixes everything, digit by digit. Where several values were swept, the published best value
holds if it is within {exam.points(NEAR_BEST)} of the best measured. Counts of networks are compared as shares, which
agree within {exam.points(SHARE)}. All accuracies are of the test set, but for the sweeps of `exploration`, which are of
its validation set. The last column but one of a table has the question that shows a number: what stands after
`netpick ask` and the run.

Seconds that sentences and figures name were taken on a machine that did other things as well: they are no measure of
speed.
"""


def find(runs: Path, study: dict[str, Any]) -> tuple[str, Run | None]:
    """Return the template that was trained, and its run: that of the study, else of one that may stand in."""
    names = [study["name"], *study.get("also", [])]
    for name in names:
        try:
            run = Run(runs / name)
            exam.done(run)
        except NetpickError:
            continue
        return name, run
    return names[0], None


def commands(template: str, run: Run | None, study: dict[str, Any]) -> str:
    """Return the commands that repeat a study, in a block."""
    manifest = run.manifest if run is not None else {}
    options = "".join(f" --{key} {manifest[key]}" for key in ("seed", "limit") if manifest.get(key))
    folder = f"runs/{template}"
    lines = [f"netpick generate {template}{options} --run {folder}", f"netpick train {folder}"]
    lines += [f"netpick {command} {folder}" for command in study.get("then", [])]
    for one in study.get("beside", []):
        lines.append(f"netpick generate {one['generate']} --run runs/{one['run']}")
        lines += [f"netpick train runs/{one['run']}"] if one["train"] else []
    for figure in figures(study):
        given = "".join(f" --{key} {value}" for key, value in figure.items() if key != "question")
        lines.append(f"netpick ask {folder} {figure['question']}{given}")
    return "```sh\n" + "\n".join(lines) + "\n```\n"


def figures(study: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of a study: a question each, with its options."""
    return [{"question": "sweep", **one} for one in study.get("figures", [])]


def draw(run: Run, name: str, figure: dict[str, Any], pictures: Path) -> str:
    """Write one figure, small enough for a page, and return what the page says of it."""
    options = {key: value for key, value in figure.items() if key != "question"}
    question = figure["question"]
    words = " ".join([question, *map(str, options.values())])
    file = pictures / f"{re.sub(r'[^A-Za-z0-9_]+', '-', f'{name} {words}')}.png"
    try:
        answer = run.ask(question, **options)
        answer.save(file)
    except NetpickError as error:
        return f"No figure of `{question}`: {error}.\n"
    file.write_bytes(shrunk(file, WIDE, BYTES)[0])
    return f"{answer.text}\n\n![{name}: {words}]({pictures.name}/{file.name})\n"


def draw_published(run: Run, study: dict[str, Any], pictures: Path) -> str:
    """Write the figure of curve beside curve, and return what stands on the page; "" where there is nothing to draw."""
    name, counts, panels = study["name"], study.get("published_counts"), beside.panels(run, study.get("rows", []))
    if not counts and not panels:
        return ""
    file = pictures / f"{name}-published.png"
    Answer(pd.DataFrame(), "", lambda: beside.counts(run, counts) if counts else beside.curves(panels)).save(file)
    file.write_bytes(shrunk(file, WIDE, BYTES)[0])
    return f"![{name}: published and measured]({pictures.name}/{file.name})\n"


def table(lines: list[Line]) -> str:
    """Return lines as a table of Markdown, without the columns in which no line says anything."""
    head = Line("what", "published", "measured", " ", "question", "why, and how")
    used = [any(one[i] for one in lines) for i in range(len(head))]
    shown = [one._replace(command=one.command and f"`{one.command}`") for one in lines]
    rows = [[part.replace("|", "/") for part, there in zip(one, used, strict=True) if there] for one in [head, *shown]]
    cells = [rows[0], ["---"] * sum(used), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def block(study: dict[str, Any], runs: Path, pictures: Path) -> str:
    """Return the part of the page that a study has, and write its figures."""
    name = study["name"]
    template, run = find(runs, study)
    out = [f"## {name}\n", f"{study['about']}\n", f"Text: {study['text']}.\n"]
    if run is None:
        return "\n".join([*out, commands(template, None, study), "Not run: there is no finished training of it.\n"])
    out.append(commands(template, run, study))
    if template != name:
        out.append(f"Measured with `{template}`: the same families, with smaller networks.\n")
    whole = study.get("networks", len(run.networks))
    training = run.manifest.get("training", {})
    where = f" Device: {training['device']}." if training.get("device") else ""
    out.append(f"{extent(run, whole)}{where}\n")
    if note := exam.notes(run):
        out.append(f"{note[0].upper()}{note[1:]}.\n")
    rows = study.get("rows", [])
    more = list(findings(run, study)) if "published_counts" in study else []
    out.append(table([*more, *(compared(run, row, runs) for row in rows)]))
    out += filter(None, [draw_published(run, study, pictures), sizes(study, runs)])
    remarks = [*filter(None, [read_off(run, rows)]), *study.get("remarks", [])]
    if remarks:
        out.append("\n".join(f"- {remark}" for remark in remarks) + "\n")
    out += [draw(run, name, figure, pictures) for figure in figures(study)]
    return "\n".join(out).replace(str(run.path), f"runs/{template}")  # errors name where the run was, for now


def compared(run: Run, row: dict[str, Any], runs: Path) -> Line:
    """Return the line of a row, which may be about a run of its own, beside the study's."""
    if "run" not in row:
        return line(run, row)
    try:
        found = line(Run(runs / row["run"]), row)
    except NetpickError:
        return Line(row["what"], row.get("published", ""), "not there yet")
    return found._replace(command=f"netpick ask runs/{row['run']} {found.command}")


def sizes(study: dict[str, Any], runs: Path) -> str:
    """Return how large the networks of the study's own template are, which need not be trained for it."""
    folder = runs / study["name"]
    if "quantiles" not in study or not (folder / "run.toml").is_file():
        return ""
    said = f"The networks that `netpick generate {study['name']}` makes, by size (`networks` in the run):\n"
    return f"{said}\n{table(list(quantiles(Run(folder).networks, study)))}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--to", type=Path, default=Path("docs/studies.md"))
    given = parser.parse_args()
    studies = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["study"]
    pictures = given.to.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("*.png"):  # no figure stays that no question of now has made
        old.unlink()
    given.to.write_text("\n".join([HEAD, *(block(one, given.runs, pictures) for one in studies)]), encoding="utf-8")
    print(given.to)


if __name__ == "__main__":
    main()
