"""What happens inside the process of some cases: make each mutation, give netpick's commands, note how each ends.

Each note is a line of JSON in the log, written before and after each command, so that the process that watches
knows which one it was when this one is killed. Nothing here judges time, memory or files.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil

from .box import Attempt, Box, Kind

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
ALONE = "from netpick.cli import main\n\nmain()\n"
SHOWN = 4000
LEFT_BYTES = 2**29
"""What a case may leave in memory for the next one."""
ZEN = "Beautiful is better than ugly"
"""What Python's module `this` prints when it is imported."""


def do_cases(kind: Kind, boxes: dict[int, Box], seed: int, log: Path) -> NoReturn:
    """Make and do cases in this process, a fresh fork, and end it; early where a case leaves it other than it was."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    environment, most = dict(os.environ), _memory("VmRSS") + LEFT_BYTES
    with open(log, "a", encoding="utf-8") as file, open(log.with_suffix(".stack"), "w") as stack:

        def note(**facts: Any) -> None:
            file.write(json.dumps(facts) + "\n")
            file.flush()

        faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False)
        for case, box in boxes.items():
            begun = time.monotonic()
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
            note(case=case)
            os.environ.clear()
            os.environ.update(environment)
            try:
                _do(kind, random.Random(f"{kind.name} {seed} {case}"), box, log, note)
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the harness's
                note(result="HARNESS", **_told(error, everywhere=True))
            note(peak=_memory("VmHWM"), seconds=time.monotonic() - begun)
            if threading.active_count() > 1 or psutil.Process().children() or _memory("VmRSS") > most:
                break
    os._exit(0)


def _memory(which: str) -> int:
    """Return bytes that the kernel counts for this process: VmRSS, those of now, or VmHWM, the most."""
    return int(Path("/proc/self/status").read_text().partition(f"{which}:")[2].split()[0]) * 1024


def _do(kind: Kind, rng: random.Random, box: Box, log: Path, note: Any) -> None:
    box.make()
    made = kind.make(rng, box)
    note(what=made.what, before=box.state())
    os.environ["NETPICK_DATA"] = str(box.out / "data")
    os.environ["PATH"] = os.pathsep.join([*made.path, os.environ.get("PATH", "")])
    os.chdir(box.here)
    output = log.with_suffix(".out")
    for command in made.commands:
        note(command=" ".join(command))
        note(**(_alone(command, output, box) if made.alone else _forked(command, output)))
        if box.marker.exists():
            note(result="CODE", line="a marker was written")
            return
    if made.check:
        note(command="(check)")
        note(**_checked(made))


def _checked(made: Attempt) -> dict[str, Any]:
    from netpick.core.errors import NetpickError

    assert made.check
    try:
        wrong = made.check()
    except NetpickError as error:
        return {"result": "refused", "line": str(error)}
    except Exception as error:  # noqa: BLE001  what a user would see as a traceback
        return {"result": "TRACEBACK", **_told(error)}
    return {"result": wrong.partition(":")[0], "line": wrong} if wrong else {"result": "ok"}


def _forked(command: tuple[str, ...], output: Path) -> dict[str, Any]:
    """Give a command to this process's netpick, with its output in a file."""
    from netpick.cli import main

    with open(output, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    told: dict[str, Any] = {}
    code: Any = 0
    try:
        main(list(command))
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:  # noqa: BLE001  what a user would see as a traceback
        told = _told(error)
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except ValueError as error:  # what can't be encoded is noticed at the end, by a user's terminal too
            told = told or _told(error)
    return _judged(code, output, told)


def _alone(command: tuple[str, ...], output: Path, box: Box) -> dict[str, Any]:
    """Give a command to a netpick of its own, as the installed script does: its folder is first on the path."""
    script = box.bases / "bin" / "netpick.script"
    script.parent.mkdir(exist_ok=True)
    script.write_text(ALONE)
    with open(output, "wb") as file:
        done = subprocess.run([sys.executable, str(script), *command], stdout=file, stderr=subprocess.STDOUT)
    if done.returncode < 0:
        return {"result": "CRASH", "line": signal.Signals(-done.returncode).name}
    text = output.read_text(errors="replace")
    told = {"line": text.strip().splitlines()[-1], "where": _frame(text)} if "Traceback (most recent" in text else {}
    return _judged(done.returncode, output, told)


def _judged(code: Any, output: Path, told: dict[str, Any]) -> dict[str, Any]:
    text = output.read_bytes()[:1_000_000].decode("utf-8", "replace")
    shown = {"output": text[:SHOWN]}
    if ZEN in text:
        return {"result": "CODE", "line": "the module that was named was imported", **shown}
    if told:
        return {"result": "TRACEBACK", **told, **shown}
    if found := CONTROL.search(text):
        line = text[max(0, found.start() - 40) : found.start() + 20]
        return {"result": "ESCAPE", "line": repr(line), **shown}
    if not code:
        return {"result": "ok", **shown}
    lines = [line for line in text.splitlines() if line.startswith("netpick: ")]
    after = text[text.rfind("netpick: ") :].strip().splitlines()
    well = code in (1, 2, 130) and len(lines) == 1 and len(after) == 1
    return {"result": "refused" if well else "UNSAID", "line": (lines or after or [""])[0][:500], **shown}


def _told(error: BaseException, everywhere: bool = False) -> dict[str, str]:
    """Return the last line of a traceback, and the innermost place of it in netpick."""
    text = "".join(traceback.format_exception(error))
    last = " ".join(str(error).split())[:300]
    return {"line": f"{type(error).__name__}: {last}", "where": _frame(text, everywhere), "traceback": text[-SHOWN:]}


def _frame(text: str, everywhere: bool = False) -> str:
    """Return the innermost place in netpick of a traceback's text, or of a stack that faulthandler wrote."""
    frames = re.findall(r'File "([^"]+)", line (\d+),? in ([^\s\]]+)', text)
    own = [(file, name) for file, _, name in frames if everywhere or re.search(r"/(netpick|analysis)/", file)]
    if not own:
        return "no frame of netpick"
    file, name = own[-1]
    return f"{Path(file).parent.name}/{Path(file).name}:{name}"


def stack_frame(text: str) -> str:
    """Return the innermost place in netpick of what faulthandler wrote, whose innermost call is first."""
    return _frame("\n".join(reversed(text.splitlines())))
