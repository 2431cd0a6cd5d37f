"""The part of the command line that asks: ask, pick, show, export, figures, report.

As in `cli`: parse, call, print. The options of a question are not written here; they are read off its `ask`.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from netpick.core.errors import NetpickError, RunError

if TYPE_CHECKING:
    import pandas as pd

    from netpick.exam.answer import Answer
    from netpick.exam.questions import Question
    from netpick.exam.run import Run

console = Console()
app = typer.Typer()

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run.")]
Format = Literal["table", "csv", "json"]
PlotOption = Annotated[
    str | None, typer.Option("--plot", metavar="FILE", help="Draw the figure into a .svg, .png or .pdf file.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the table.")]
RowsOption = Annotated[int, typer.Option("--rows", min=1, help="Rows of a printed table; csv and json have all.")]
SkipOption = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out result files that can't be read, and name them.")
]


def open_run(folder: str, skip_broken: bool = False) -> Run:
    """Open a run; files that can't be read are named."""
    from netpick.exam.run import Run

    run = Run(folder, skip_broken=skip_broken)
    if skip_broken and len(run.trainings) and run.broken:
        names = ", ".join(str(path) for path in run.broken)
        console.print(f"left out, can't be read: {names}", style="yellow", highlight=False, soft_wrap=True)
    return run


def print_frame(frame: pd.DataFrame, form: Format, rows: int) -> None:
    """Print a table; as csv or json whole and without decoration."""
    if form == "csv":
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        typer.echo(frame.to_json(orient="records", indent=1))
    else:
        from netpick.cli.summary import cells, frame_table

        table = frame_table(frame.head(rows))
        if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
            console.print(table)
        else:  # too wide: in blocks of columns, as pandas does it, since half a column is worth nothing
            plain = cells(frame.head(rows)).to_string(index=False, line_width=console.width)
            console.print(plain, highlight=False, markup=False, soft_wrap=True)
        if len(frame) > rows:
            console.print(f"{len(frame) - rows} more rows: --rows N, or --format csv", style="dim", highlight=False)


def print_answer(answer: Answer, form: Format, rows: int, plot: str | None) -> None:
    """Print an answer, and draw its figure where asked for."""
    print_frame(answer.table, form, rows)
    if form == "table":
        console.print(answer.text, highlight=False, markup=False, soft_wrap=True)
        if answer.note:
            console.print(answer.note, style="dim", highlight=False, markup=False, soft_wrap=True)
    if plot:
        written = answer.save(plot)
        if form == "table":
            console.print(f"figure: {written}", highlight=False, soft_wrap=True)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def ask(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Folder of the run.")] = None,
    question: Annotated[str | None, typer.Argument(metavar="[QUESTION]", help="Its name; none lists them.")] = None,
) -> None:
    """List the questions that can be asked of a run, or ask one: netpick ask RUN weird --plot weird.svg."""
    from netpick.exam import questions

    if question and not question.startswith("-"):
        found = questions.find(question)
        _question_command(found, run or "")(
            [*ctx.args], standalone_mode=False, prog_name=f"netpick ask {run} {question}"
        )
        return
    asked_for_help = {"--help", "-h"} & {run, question, *ctx.args}
    if asked_for_help or not run:
        console.print("Usage: netpick ask RUN [QUESTION] [--plot FILE] [--format table|csv|json] [--rows N] [...]\n")
        console.print("netpick ask RUN QUESTION --help lists the options of a question. The questions:\n")
    elif question or ctx.args:
        raise RunError(f"which question? got {question or ctx.args[0]}: name one first, netpick ask {run} lists them")
    else:
        open_run(run)
    for one in questions.questions().values():
        mine = " (yours)" if one.own else ""
        says = one.title if not one.error else f"can't be asked: {one.error}"
        console.print(f"{one.name:<14}{says}{mine}", highlight=False, markup=False, soft_wrap=True)


def _question_command(question: Question, run: str) -> typer.Typer:
    """Make the command of one question, with the question's options as its own."""
    ours: dict[str, Any] = {"plot": PlotOption, "format": FormatOption, "rows": RowsOption, "skip_broken": SkipOption}
    defaults: dict[str, Any] = {"plot": None, "format": "table", "rows": 40, "skip_broken": False}
    fixed = {name: kind for name, kind in ours.items() if name not in question.options}  # the question's own go first

    def command(**given: Any) -> None:
        own = {**defaults, **{key: given.pop(key) for key in fixed}}
        options = {k: v for k, v in given.items() if v != question.options[k].default and v is not None}
        answer = open_run(run, own["skip_broken"]).ask(question.name, **options)
        print_answer(answer, own["format"], own["rows"], own["plot"])

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
        info = typer.Option(*([f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]), help=option.help or None)
        parameters.append(
            inspect.Parameter(
                option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
            )
        )
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = question.doc
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    one.command(context_settings={"help_option_names": ["-h", "--help"]})(command)
    return one


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def pick(
    ctx: typer.Context,
    run: RunArgument,
    minimize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Objective; repeatable.")] = None,
    maximize: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Objective; repeatable.")] = None,
    computation: Annotated[list[str] | None, typer.Option(help="Only these computations; repeatable.")] = None,
    activation: Annotated[list[str] | None, typer.Option(help="Only these activations; repeatable.")] = None,
    give_up: Annotated[
        float | None, typer.Option(metavar="FRACTION", help="Accuracy that may be lost for a lower cost.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the samples chosen on and judged on.")] = 0,
    plot: PlotOption = None,
    form: FormatOption = "table",
    rows: RowsOption = 40,
    skip_broken: SkipOption = False,
) -> None:
    """Suggest the network to pick, and say why.

    --min-COLUMN N and --max-COLUMN N are constraints; columns are params, memory, ops, macs, depth, seconds, accuracy,
    class-accuracy (of the worst class), and, once netpick time has measured them, step-seconds, latency and throughput.
    Without objectives: few macs, high accuracy.
    """
    from netpick.exam import pick as choose
    from netpick.exam.picking.constraints import bounds

    constraints = bounds(ctx.args)
    if computation:
        constraints["computation"] = computation
    if activation:
        constraints["activation"] = activation
    more: dict[str, Any] = {} if give_up is None else {"give_up": give_up}
    down, up = ([name.replace("-", "_") for name in names] if names else None for names in (minimize, maximize))
    chosen = choose(open_run(run, skip_broken), constraints, down, up, seed=seed, **more)
    print_answer(chosen, form, rows, plot)
    if form == "table":
        console.print(
            f"next: netpick show {run} {chosen.name}\n      netpick export {run} {chosen.name} --to net.py",
            highlight=False,
            soft_wrap=True,
        )


@app.command()
def show(
    run: RunArgument,
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Its name.")],
    skip_broken: SkipOption = False,
) -> None:
    """Show the card of one network: layers, cost, scores, rank, what it confuses."""
    from netpick.exam.network_card import card

    made = card(open_run(run, skip_broken), network)
    console.print(made.summary, highlight=False, markup=False, soft_wrap=True)
    for title, frame in made.sections.items():
        console.print(f"\n{title}", style="bold", highlight=False)
        print_frame(frame, "table", 60)
    if made.note:
        console.print(made.note, style="dim", highlight=False, markup=False, soft_wrap=True)


@app.command()
def export(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="The file to write: .py, or .jsonl.")],
    network: Annotated[str | None, typer.Argument(metavar="NETWORK", help="Its name; all of them for .jsonl.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Write one network as PyTorch source that needs no netpick, with its weights beside it; or all as JSON lines."""
    from netpick.exam.exports import describe
    from netpick.exam.exports import export as write

    if to.endswith(".jsonl"):
        number = describe(open_run(run), to, network, overwrite)
        console.print(f"{to}: {number} network{'' if number == 1 else 's'}", highlight=False, soft_wrap=True)
        return
    if network is None:
        raise NetpickError("export wants the name of a network, or --to FILE.jsonl to describe all of them")

    written = write(open_run(run), network, to, overwrite=overwrite)
    for line in filter(None, (written.source, written.weights, written.note)):
        console.print(str(line), highlight=False, markup=False, soft_wrap=True)


def _say(name: str, number: int, total: int) -> None:
    console.print(f"{number} of {total}: {name}", style="dim", highlight=False)


@app.command()
def figures(
    run: RunArgument,
    to: Annotated[str | None, typer.Option("--to", metavar="FOLDER", help="RUN/figures where left out.")] = None,
    formats: Annotated[str, typer.Option("--formats", help="Of svg, png, pdf; with commas.")] = "svg,png",
    skip_broken: SkipOption = False,
) -> None:
    """Ask all questions of a run and write their figures."""
    from netpick.report.figures import write_figures

    folder = to or f"{run}/figures"
    written = write_figures(
        open_run(run, skip_broken), folder, [f.strip() for f in formats.split(",")], on_progress=_say
    )
    _report_written(written, folder)


@app.command()
def report(
    run: RunArgument,
    to: Annotated[
        str | None, typer.Option("--to", metavar="FILE", help="A .html page, or .md with images beside it.")
    ] = None,
    skip_broken: SkipOption = False,
) -> None:
    """Write all that a run has to say as one page: RUN/report.html, which needs no other file."""
    from netpick.report.page import write_markdown, write_report

    path = Path(to) if to else Path(run) / "report.html"
    opened = open_run(run, skip_broken)
    if path.suffix == ".md":
        command = f"netpick report {run} --to {path}"
        written = write_markdown(opened, path, path.with_suffix(""), command, run_as=run, on_progress=_say)
    elif path.suffix in (".html", ".htm"):
        written = write_report(opened, path, run_as=run, on_progress=_say)
    else:
        raise RunError(f"--to {path}: wants a file that ends in .html or .md")
    _report_written(written, path)


def _report_written(written: list[Any], where: object) -> None:
    for one in written:
        if one.error:
            console.print(f"{one.name}: not answered: {one.error}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{where}: {sum(not one.error for one in written)} questions", highlight=False, soft_wrap=True)
