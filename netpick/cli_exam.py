"""The part of the command line that asks: ask, pick, show, export, figures, report.

As in `cli`: parse, call, print. The options of a question are not written here; they are read off its `ask`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from netpick.errors import RunError

if TYPE_CHECKING:
    import pandas as pd

    from netpick.answer import Answer
    from netpick.questions import Question
    from netpick.run import Run

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
    from netpick.run import Run

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
        from netpick.report.summary import frame_table

        console.print(frame_table(frame.head(rows)))
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
    from netpick import questions

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
    fixed: dict[str, Any] = {"plot": PlotOption, "form": FormatOption, "rows": RowsOption, "skip_broken": SkipOption}
    defaults: dict[str, Any] = {"plot": None, "form": "table", "rows": 40, "skip_broken": False}

    def command(**given: Any) -> None:
        own = {key: given.pop(key) for key in fixed}
        options = {k: v for k, v in given.items() if v != question.options[k].default and v is not None}
        answer = open_run(run, own["skip_broken"]).ask(question.name, **options)
        print_answer(answer, own["form"], own["rows"], own["plot"])

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
