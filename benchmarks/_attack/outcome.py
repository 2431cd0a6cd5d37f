"""What came of a case: its outcome, the signature that it shares with others, and the tables of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

OUTCOMES = (
    "ok",
    "refused",
    "CODE",
    "OUTSIDE",
    "SILENT",
    "LOST",
    "CRASH",
    "HANG",
    "MEMORY",
    "TRACEBACK",
    "ESCAPE",
    "UNSAID",
    "HARNESS",
)
"""ok and refused (one line, exit 1 or 2) are as it should be; the others are faults, the worst first."""

MEANING = {
    "CODE": "code of a stranger ran",
    "OUTSIDE": "a file outside was made, changed or removed",
    "SILENT": "another value was read without a word",
    "LOST": "what had ended was gone, or more failed than the culprit",
    "CRASH": "the process died of a signal",
    "HANG": "took longer than 20 s, or waits for ever",
    "MEMORY": "took more than 2 GB",
    "TRACEBACK": "an exception reached the user",
    "ESCAPE": "control characters reached the terminal",
    "UNSAID": "failed with no line, or with several",
    "HARNESS": "the case itself couldn't be made",
}


@dataclass(frozen=True)
class Outcome:
    """One case and what came of it; `where` is the innermost place in netpick, `line` the last line said."""

    kind: str
    case: int
    outcome: str
    what: str
    command: str = ""
    line: str = ""
    where: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    company: str = ""
    """The fault that it seemed to have when other cases had gone before it in the same process."""

    @property
    def is_fault(self) -> bool:
        """Whether it is to be mended."""
        return self.outcome not in ("ok", "refused")

    @property
    def signature(self) -> tuple[str, str]:
        """What faults of one cause share."""
        if self.outcome in ("TRACEBACK", "HARNESS"):
            return self.outcome, f"{self.line.partition(':')[0]} in {self.where}"
        if self.outcome in ("HANG", "MEMORY", "CRASH"):
            return self.outcome, f"netpick {self.command.partition(' ')[0]}, {self.where or self.line or 'unknown'}"
        return self.outcome, f"{self.kind}, netpick {self.command.partition(' ')[0]}{self._which()}"

    def _which(self) -> str:
        if self.outcome in ("OUTSIDE", "SILENT"):
            return f": {self.line.removeprefix('SILENT: ')}"[:120]
        return f": {self.what.partition(',')[0].partition(' ')[0]}" if self.outcome == "CODE" else ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def reproduction(outcome: Outcome, seed: int, light: bool = False) -> str:
    """Return the command that shows one case again."""
    words = f"python benchmarks/attack.py --only {outcome.kind} --case {outcome.case} --seed {seed} --show"
    return f"{words} --light" if light else words


def grouped(outcomes: list[Outcome]) -> list[tuple[tuple[str, str], list[Outcome]]]:
    """Return the faults by signature, the worst outcome first, the most frequent first among equals."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.is_fault:
            groups.setdefault(outcome.signature, []).append(outcome)
    return sorted(groups.items(), key=lambda item: (OUTCOMES.index(item[0][0]), -len(item[1])))


def table(outcomes: list[Outcome]) -> tuple[list[str], list[list[object]]]:
    """Return head and rows of the counts by kind and outcome; only outcomes that occur."""
    there = [name for name in OUTCOMES if name in ("ok", "refused") or any(o.outcome == name for o in outcomes)]
    counts = Counter((o.kind, o.outcome) for o in outcomes)
    kinds = list(dict.fromkeys(o.kind for o in outcomes))
    rows: list[list[object]] = [
        [kind, sum(counts[kind, name] for name in there), *(counts[kind, name] or "" for name in there)]
        for kind in kinds
    ]
    totals = [sum(o.outcome == name for o in outcomes) for name in there]
    return ["kind", "cases", *there], [*rows, ["all", sum(totals), *totals]]


def as_markdown(outcomes: list[Outcome], seed: int) -> str:
    """Return the table and the faults by signature, for those who mend them."""
    head, rows = table(outcomes)
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    for (name, text), members in grouped(outcomes):
        first = members[0]
        kinds = ", ".join(f"{kind} {n}" for kind, n in Counter(o.kind for o in members).most_common())
        lines += ["", f"### {name} x {len(members)}: {text}", "", f"- {MEANING[name]}; {kinds}"]
        lines += [f"- `{reproduction(first, seed)}`", f"- mutation: {first.what!r:.200}"]
        lines += [f"- command: `netpick {first.command:.200}`"] if first.command else []
        lines += [f"- says: {first.line!r:.300}"] if first.line else []
        others = Counter(o.what for o in members[1:]).most_common(4)
        lines += [f"- others: {'; '.join(repr(what)[:90] for what, _ in others)}"] if others else []
    return "\n".join(lines) + "\n"
