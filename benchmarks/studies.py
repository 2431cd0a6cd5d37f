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

from _studies import NEAR_BEST, SHARE, WITHIN, Line, extent, findings, line, read_off

from netpick import Run, exam
from netpick.core.errors import NetpickError
from netpick.report.figures import shrunk

WIDE, BYTES = 1100, 150_000
"""Pixels and bytes that a figure has at most."""

HEAD = f"""# Studies

What five studies published, beside what their templates measured here. `python benchmarks/studies.py` writes this page
from finished runs.

An accuracy agrees where the mean of the replicates is within {exam.points(WITHIN)} of the published one, unless a line
says otherwise; published accuracies are of one training each. Where several values were swept, the published best value
holds if it is within {exam.points(NEAR_BEST)} of the best measured. Counts of networks are compared as shares, which
agree within {exam.points(SHARE)}. All accuracies are of the test set, but for the sweeps of `exploration`, which are of
its validation set.
"""


def find(runs: Path, study: dict[str, Any]) -> tuple[str, Path]:
    """Return the template that was run, and the folder of its run: that of the study, else of one that may stand in."""
    names = [study["name"], *study.get("also", [])]
    return next(((n, runs / n) for n in names if (runs / n / "run.toml").is_file()), (names[0], runs / names[0]))


def commands(template: str, run: Run | None, study: dict[str, Any]) -> str:
    """Return the commands that repeat a study, in a block."""
    manifest = run.manifest if run is not None else {}
    options = "".join(f" --{key} {manifest[key]}" for key in ("seed", "limit") if manifest.get(key))
    folder = f"runs/{template}"
    lines = [f"netpick generate {template}{options} --run {folder}", f"netpick train {folder}"]
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


def table(lines: list[Line]) -> str:
    """Return lines as a table of Markdown, with notes where there is one."""
    noted = any(one.note for one in lines)
    head = ["what", "published", "measured", "", *(["why, and how"] if noted else [])]
    rows = [[part.replace("|", "/") for part in (one if noted else one[:4])] for one in lines]
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def block(study: dict[str, Any], runs: Path, pictures: Path) -> str:
    """Return the part of the page that a study has, and write its figures."""
    name = study["name"]
    template, folder = find(runs, study)
    out = [f"## {name}\n", f"{study['about']}\n"]
    try:
        run = Run(folder)
        exam.done(run)
    except NetpickError:
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
    if times := exam.times(run):
        out.append(f"{times[0].upper()}{times[1:]}: seconds compare roughly.\n")
    rows = study.get("rows", [])
    out.append(table([line(run, row) for row in rows] if rows else list(findings(run, study))))
    remarks = [*filter(None, [read_off(run, rows)]), *study.get("remarks", [])]
    if remarks:
        out.append("\n".join(f"- {remark}" for remark in remarks) + "\n")
    out += [draw(run, name, figure, pictures) for figure in figures(study)]
    return "\n".join(out).replace(str(folder), f"runs/{template}")  # errors name where the run was, for now


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
