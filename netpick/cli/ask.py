"""The part of the command line that asks: ask, pick, examine, show, figures, report, explore.

As in `cli`: parse, call, print. The options of a question are not written here; they are read off its `ask`.
"""

from __future__ import annotations

import inspect
import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from netpick.cli import completion, options
from netpick.cli.screen import Format, listing, say, sentence, show_frame
from netpick.core import advice
from netpick.core.errors import RunError, listed

if TYPE_CHECKING:
    from netpick.exam.answer import Answer
    from netpick.exam.questions import Question
    from netpick.exam.run import Run
    from netpick.report.figures import Written

app = typer.Typer()

CLASS_NAMES, LONGEST = ("class", "mostly_taken_for", "true", "taken_for"), 16
"""Columns of a card that have names of classes, which are cut so that the numbers beside them have room."""


def open_run(folder: str | Path | None, skip_broken: bool = False) -> Run:
    """Open a run, the newest one where none is named; files that can't be read are named."""
    from netpick.exam.run import Run

    run = Run(options.run_folder(str(folder) if folder else None), skip_broken=skip_broken)
    if skip_broken and len(run.trainings) and run.broken:
        names = ", ".join(str(path) for path in run.broken)
        say(f"left out, can't be read: {names}", "yellow")
    return run


def print_answer(answer: Answer, form: Format, rows: int, plot: str | None, wide: bool = False) -> None:
    """Print an answer, the sentence first, and draw its figure where asked for."""
    if form == "table":
        sentence(answer.text)
        if answer.note:
            sentence(answer.note, "dim")
    show_frame(answer.table, form, rows, wide, answer.shares, answer.columns, answer.suggested)
    if plot:
        written = answer.save(plot)
        if form == "table":
            say(f"figure: {written}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def ask(
    ctx: typer.Context,
    first: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="Folder of the run; the newest one in ./runs.",
            autocompletion=completion.runs_or_questions,
        ),
    ] = None,
    second: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION", help="Its name; none lists them.", autocompletion=completion.questions),
    ] = None,
) -> None:
    """List the questions that can be asked of a run, or ask one: netpick ask RUN weird --plot weird.svg."""
    words = [word for word in (first, second, *ctx.args) if word is not None]
    names = [*itertools.takewhile(lambda word: not word.startswith("-"), words[:2])]
    given = words[len(names) :]
    if len(names) == 1 and not options.is_run(names[0]):
        names = ["", *names]  # the newest run, which is looked for only when something is read
    if len(names) == 2:
        _question_command(_asked(names[1]), names[0])(
            given, standalone_mode=False, prog_name=advice.command("ask", *filter(None, names))
        )
        return
    if {"--help", "-h"} & {*words} or not words:
        say("Usage: netpick ask [RUN] [QUESTION] [--plot FILE] [--format table|csv|json] [--against OTHER] [...]\n")
        say("netpick ask QUESTION --help lists the options of a question. The questions:\n")
    elif given:
        raise RunError(f"which question? got {given[0]}: name one first, {advice.command('ask', *names)} lists them")
    else:
        open_run(names[0])
    _print_questions()


def _print_questions() -> None:
    from netpick.exam import questions

    other = {name: f" Also called {alias}." for alias, name in questions.aliases().items()}
    titles = {name: f"{each.title}{other.get(name, '')}" for name, each in questions.questions().items()}
    titles |= {name: f"{questions.title_of(path)} (yours)" for name, path in questions.own_files().items()}
    listing(titles)


def _asked(name: str) -> Question:
    """Return a question by its name; the user's own is imported, and that is said."""
    from netpick.exam import questions

    own = questions.own_files()
    if name not in own:
        return questions.find(name, own)
    say(f"runs your own code: {own[name]}", "dim", error=True)
    return questions.own_question(own[name])


def _question_command(question: Question, run: str) -> typer.Typer:
    """Make the command of one question, with the question's options as its own."""
    ours: dict[str, Any] = {
        "against": options.Against, "plot": options.Plot, "format": options.Form, "rows": options.Rows,
        "wide": options.Wide, "skip_broken": options.SkipBroken,
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "against": None,
        "plot": None,
        "format": "table",
        "rows": 40,
        "wide": False,
        "skip_broken": False,
    }
    fixed = {name: kind for name, kind in ours.items() if name not in question.options}  # the question's own go first

    def command(**given: Any) -> None:
        own = {**defaults, **{key: given.pop(key) for key in fixed}}
        wanted = {k: v for k, v in given.items() if v != question.options[k].default and v is not None}
        answer = open_run(run, own["skip_broken"]).ask(
            question, **wanted, **({"against": own["against"]} if own.get("against") else {})
        )
        print_answer(answer, own["format"], own["rows"], own["plot"], own["wide"])

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=kind)
        for name, kind in fixed.items()
    ]
    for option in question.options.values():
        kind: Any = str if option.many else option.type
        default = ",".join(map(str, option.default)) if option.many and option.default else option.default
        if default is None or default == []:
            kind, default = kind | None, None
        flag = f"--{option.name.replace('_', '-')}"
        info = typer.Option(
            *([f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]), help=escape(option.help) or None
        )
        parameters.append(
            inspect.Parameter(
                option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
            )
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = escape(question.doc)  # help is set with rich's markup
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    single.command(context_settings={"help_option_names": ["-h", "--help"]})(command)
    return single


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def pick(
    ctx: typer.Context,
    run: options.NewestRun = None,
    minimize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Objective; repeatable.")] = None,
    maximize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Objective; repeatable.")] = None,
    computation: options.Computations = None,
    activation: Annotated[list[str] | None, typer.Option(help="Only these activations; repeatable.")] = None,
    give_up: Annotated[
        float | None, typer.Option(metavar="FRACTION", help="Accuracy that may be lost for a lower cost.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the splits into samples to choose on and to judge on.")] = 0,
    int8: Annotated[bool, typer.Option("--int8", help="By what networks score in whole numbers of 8 bits.")] = False,
    data_dir: options.DataDir = None,
    plot: options.Plot = None,
    form: options.Form = "table",
    rows: options.Rows = 40,
    wide: options.Wide = False,
    skip_broken: options.SkipBroken = False,
) -> None:
    """Suggest the network to pick, and say why.

    --min-COLUMN N and --max-COLUMN N are constraints; columns are params, memory, ops, macs, depth, seconds, accuracy,
    class-accuracy and class-auc (area under the ROC curve), both of the worst class, and, once netpick time has
    measured them, step-seconds, latency and throughput.
    Without objectives: few macs, high accuracy.
    """
    from netpick.exam import pick as choose
    from netpick.exam.picking.constraints import bounds

    named, limits = options.run_and_limits([word for word in (run, *ctx.args) if word is not None])
    folder, constraints = options.run_folder(named), bounds(limits)
    if computation:
        constraints["computation"] = computation
    if activation:
        constraints["activation"] = activation
    more: dict[str, Any] = {} if give_up is None else {"give_up": give_up}
    down, up = ([name.replace("-", "_") for name in names] if names else None for names in (minimize, maximize))
    opened = open_run(folder, skip_broken)
    if int8:
        from netpick.sessions import pixels_of

        more["int8"] = partial(pixels_of, opened, option=data_dir)
    on_note = partial(say, style="dim", error=True)
    chosen = choose(opened, constraints, down, up, seed=seed, on_note=on_note, **more)
    print_answer(chosen, form, rows, plot, wide)
    if form == "table":
        say(f"next: {advice.command('show', folder, chosen.name)}")
        if not opened.imported:
            what = ("--to", "net.onnx", "--int8") if int8 else ("--to", "net.py")
            say(f"      {advice.command('export', folder, chosen.name, *what)}")


@app.command()
def examine(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.", autocompletion=options.runs)],
    predictions: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Answers to some of its samples, as for netpick import.")
    ] = None,
    next_: Annotated[bool, typer.Option("--next", help="Say which sample to ask next.")] = False,
    everyone: Annotated[bool, typer.Option("--everyone", help="Calibrate by all students.")] = False,
    plot: options.Plot = None,
    form: options.Form = "table",
    rows: options.Rows = 40,
    wide: options.Wide = False,
    skip_broken: options.SkipBroken = False,
) -> None:
    """Place new classifiers that answered a few samples of a run, such as those of the question short: accuracy, rank.

    The accuracy is that on all samples, with an interval that covers 90 % of networks of families left out.
    """
    from netpick.exam import examine as place
    from netpick.sessions import answers_to

    opened = open_run(run, skip_broken)
    if predictions is None and not next_:
        raise RunError(f"examine wants a file of answers, or --next; to which: {advice.command('ask', run, 'short')}")
    if predictions is None:
        found = place(opened, everyone=everyone)
    else:
        names, items, answers = answers_to(opened, predictions)
        found = place(opened, names, items, answers, everyone)
        print_answer(found, form, rows, plot, wide)
    if next_ and form == "table":
        for name, sample in zip(found.table["name"], found.table["next"], strict=True):
            asked = opened.samples["name"].iloc[int(sample)] if opened.imported else sample
            say(f"next for {name}: sample {asked}")


@app.command()
def show(
    first: options.RunOrNetwork = None,
    second: options.Network = None,
    wide: options.Wide = False,
    skip_broken: options.SkipBroken = False,
) -> None:
    """Show the card of one network: layers, cost, scores, rank, what it confuses."""
    from netpick.core.words import short
    from netpick.exam.network_card import card

    folder, names = options.run_and_names([word for word in (first, second) if word])
    if len(names) != 1:
        raise RunError(
            f"show wants the name of one network, got {len(names) or 'none'}: {advice.command('show', folder, 'Basic')}"
        )
    made = card(open_run(folder, skip_broken), names[0])
    sentence(made.summary)
    for title, frame in made.sections.items():
        say(f"\n{title}", "bold")
        long = [] if wide else [column for column in CLASS_NAMES if column in frame]
        shown = frame.assign(**{column: [short(name, LONGEST) for name in frame[column]] for column in long})
        show_frame(shown, rows=60, wide=wide)
    if made.note:
        sentence(made.note, "dim")


def _progress(name: str, number: int, total: int) -> None:
    say(f"{number} of {total}: {name}", "dim")


@app.command()
def figures(
    run: options.NewestRun = None,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="RUN/figures where left out.")] = None,
    formats: Annotated[str, typer.Option("--formats", help="Of svg, png, pdf; with commas.")] = "svg,png",
    skip_broken: options.SkipBroken = False,
) -> None:
    """Ask all questions of a run and write their figures."""
    from netpick.report.figures import write_figures

    opened = open_run(run, skip_broken)
    folder = to or f"{opened.path}/figures"
    written = write_figures(opened, folder, [f.strip() for f in formats.split(",")], on_progress=_progress)
    _report_written(written, folder)


@app.command()
def report(
    run: options.NewestRun = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="A .html page, or .md with images beside it.")
    ] = None,
    against: options.Against = None,
    skip_broken: options.SkipBroken = False,
) -> None:
    """Write all that a run has to say as one page: RUN/report.html, which needs no other file."""
    from netpick.report.page import write_markdown, write_report

    opened = open_run(run, skip_broken)
    run, path = str(opened.path), Path(to) if to else opened.path / "report.html"
    if path.suffix == ".md":
        more = ("--against", against) if against else ()
        again = advice.command("report", Path(run), "--to", path, *more)
        written = write_markdown(
            opened, path, path.with_suffix(""), again, run_as=run, on_progress=_progress, against=against
        )
    elif path.suffix in (".html", ".htm"):
        written = write_report(opened, path, run_as=run, on_progress=_progress, against=against)
    else:
        raise RunError(f"--to {path}: wants a file that ends in .html or .md")
    _report_written(written, path)


@app.command()
def explore(
    run: options.NewestRun = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE.html", help="The page; RUN/explore.html where left out.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Samples that it holds; as many as fit where left out.")
    ] = None,
    live: Annotated[
        str | None, typer.Option(metavar="N|none", help="Networks that travel with their weights; as many as fit.")
    ] = None,
    max_size: Annotated[
        float, typer.Option("--max-size", metavar="MB", min=0.1, help="Of the page; then some samples are left out.")
    ] = 20,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    skip_broken: options.SkipBroken = False,
) -> None:
    """Write a run as one page to explore with the mouse: networks, samples, answers; it needs no other file."""
    from netpick.core.words import counted_word, size
    from netpick.report.explorer.page import EXPLORER, write_explorer

    networks = options.live_networks(live)
    if to and Path(to).suffix not in (".html", ".htm"):
        raise RunError(f"--to {to}: wants a file that ends in .html")
    opened = open_run(run, skip_broken)
    path = Path(to) if to else opened.path / EXPLORER
    made = write_explorer(opened, path, samples, networks, int(max_size * 1e6))
    kept = counted_word(made.samples, "sample") + (f" of {made.of}: {made.rule}" if made.rule else "")
    sentence(f"{path}: {size(made.bytes)}, {kept}")
    if made.live:
        say(f"live class: {counted_word(made.live, 'network')}")
    for reason, names in made.left_out.items():
        say(f"not in the live class: {listed(names, 5)}: {reason}", "dim")
    if open_it:
        typer.launch(path.resolve().as_uri())


def _report_written(written: list[Written], where: object) -> None:
    refused = [question for question in written if question.error]
    for question in refused:
        say(f"{question.name}: not answered: {question.error}")
    say(f"{where}: {len(written) - len(refused)} questions")
