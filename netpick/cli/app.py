"""The command line: parse, call, print. Nothing else in netpick prints, and no logic lives here.

Heavy imports happen inside the command that needs them, so that `netpick --help` is fast.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from netpick.cli import ask, costs, device, look, options, runs, trust
from netpick.cli.screen import console, fail, say, sentence
from netpick.core.advice import command
from netpick.core.errors import NetpickError

app = typer.Typer(
    name="netpick",
    help="Generate a thousand small networks, train them all, keep every answer, and ask which one to pick.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; a NetpickError becomes one line and an exit code, Ctrl-C becomes 130."""
    try:
        code = app(arguments, standalone_mode=False)
    except NetpickError as error:
        fail(f"netpick: {error}")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `netpick ... | head`
        sys.stderr.close()
        code = 0
    except Exception as error:
        # Typer's own usage errors, of whichever version of click it carries, know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        said = " ".join(error.format_message().split())
        if said:  # nothing said: the help has been printed, as there were no arguments
            where = getattr(getattr(error, "ctx", None), "command_path", "netpick")
            fail(f"netpick: {said}{_got(error, said)} (see {where} --help)")
        code = 2
    sys.exit(code or 0)


def _got(error: Exception, said: str) -> str:
    """Return what was given for an option, where typer's message on it does not say so; newer ones ask pydantic."""
    found: list[dict[str, object]] = getattr(error.__cause__, "errors", list)()
    got = repr(found[0].get("input")) if found else ""
    return f", got {got:.100}" if got not in said else ""


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Say which netpick this is.", is_eager=True)] = False,
) -> None:
    if version:
        from netpick import __version__

        say(f"netpick {__version__}")
        raise typer.Exit


@app.command()
def generate(
    template: Annotated[
        str | None,
        typer.Argument(metavar="TEMPLATE", help="Name of a template that comes with netpick, or a TOML file."),
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Folder of the new run; runs/TEMPLATE.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set; the template's own. Yours: folder:PATH or npz:FILE.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Size that a folder's images are brought to.")
    ] = None,
    color: Annotated[str | None, typer.Option(help="grey, rgb or auto: form of a folder's images.")] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out images that can't be read.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of networks, splits, initial weights, batch order.")] = 0,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only N networks: a share of every family.")] = None,
    overrides: options.Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove a run that is there, results and all.")
    ] = False,
    networks: Annotated[
        str | None, typer.Option("--networks", metavar="FILE", help="Networks of your own, as JSON or JSON lines.")
    ] = None,
    module: Annotated[
        list[str] | None,
        typer.Option("--module", metavar="MODULE[:NAME]", help="Networks of your own Python code; repeatable."),
    ] = None,
    max_params: Annotated[
        int, typer.Option("--max-params", metavar="N", min=1, help="Refuse networks of your own with more parameters.")
    ] = 100_000_000,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse networks that can't be meant so: softmax before cross entropy.")
    ] = False,
) -> None:
    """Make the networks of a template, measure them, and write them into a new run."""
    from netpick.cli.progress import ProgressListener
    from netpick.core.devices import usable_cores
    from netpick.sessions.generate import generate_run, size_list

    sets = [*(overrides or ())]
    if image_size is not None:
        sets.append(f"image_size={size_list(image_size)}")
    if color is not None:
        sets.append(f"color={color}")
    if skip_unreadable:
        sets.append("skip_unreadable=true")
    with ProgressListener(console) as listener:
        shown = console.is_terminal  # elsewhere it would be a line of no worth
        made = generate_run(
            template,
            run,
            dataset,
            seed,
            limit,
            sets,
            overwrite,
            usable_cores(),
            networks_file=networks,
            max_params=max_params,
            modules=module or (),
            strict=strict,
            on_progress=partial(listener.progress, "measuring networks") if shown else lambda done, total: None,
        )
    for note in made.notes:
        say(f"note: {note}")
    for line in made.warnings:
        say(f"warning: {line}", "yellow", error=True)
    if made.unchanged:
        say(f"{made.store.path} holds these {len(made.networks)} networks already")
        return
    families = Counter(spec.computation for spec in made.networks)
    counts = ", ".join(f"{number} {name}" for name, number in families.items())
    sentence(f"{made.store.path}: {len(made.networks)} networks for {made.store.manifest['dataset']}: {counts}")
    own = [word for name in module or () for word in ("--module", name.partition(":")[0])]
    say(f"next: {command('train', made.store.path, *own)}")


@app.command()
def train(
    run: options.NewestRun = None,
    device: options.Device = "auto",
    workers: options.Workers = "auto",
    epochs: options.Epochs = None,
    overrides: options.Overrides = None,
    scores: options.Scores = None,
    weights: options.Weights = None,
    data_dir: options.DataDir = None,
    retry: options.Retry = None,
    precision: options.Precision = None,
    plan: options.Plan = None,
    module: options.Modules = None,
    trust: options.Trust = None,
    compact: Annotated[bool, typer.Option(help="Merge the many small files at the end.")] = True,
    estimate: Annotated[
        bool, typer.Option(help="Time some networks first, for a twentieth of the session, to say how long it takes.")
    ] = True,
    scheduler: options.Scheduler = None,
    commit: options.Commit = "session",
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
) -> None:
    """Train every network of a run that has no result yet; give the same command again to go on after a stop."""
    from netpick.cli.progress import ProgressListener
    from netpick.sessions import Options, train_run

    many = options.worker_count(workers)
    folder = options.run_folder(run)
    settings = Options(
        device=device,
        workers=many,
        epochs=epochs,
        overrides=overrides or (),
        scores=scores,
        weights=weights,
        data_dir=data_dir,
        retry=retry or (),
        precision=precision,
        plan=plan,
        compact=compact,
        estimate=estimate,
        modules=module or (),
        trust=trust,
        cluster=options.cluster(scheduler, tls_ca, tls_cert, tls_key),
        commit=commit,
    )
    try:
        with ProgressListener(console) as listener:
            train_run(folder, settings, listener)
    except KeyboardInterrupt:
        say(f"netpick: stopped; all finished trainings are safe. To go on: {command('train', folder)}", error=True)
        raise typer.Exit(130) from None
    runs.summarise(folder)
    what_next = {
        command("ask", folder): "the questions that can be asked",
        command("pick", folder, "--max-params", 20000): "the network to pick",
        command("show", folder, _example(folder)): "everything about one network",
        command("explore", folder): "all networks, images and answers as one page to look around in",
    }
    wide = max(map(len, what_next)) + 6
    lines = [f"{words:<{wide}}{what}" for words, what in what_next.items()]
    say("\nnext: " + "\n      ".join(lines))


def _example(folder: str | Path) -> str:
    """Return a network that the run has: Basic, or else the first."""
    from netpick.store.folder import Store

    names = [row["name"] for row in Store.open(folder).networks()]
    return "Basic" if "Basic" in names else names[0]


@app.command()
def templates() -> None:
    """List the templates that come with netpick."""
    from netpick.networks.catalogue.template import builtin_templates, load

    for name in builtin_templates():
        say(f"{name:16}{load(name).title}")


for part in (runs, trust, costs, ask, device, look):
    app.registered_commands += part.app.registered_commands


if __name__ == "__main__":
    main()
