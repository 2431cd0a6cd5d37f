"""One module a question: what people ask about a run. Read them, copy them, add to them.

Nothing imports a question from here by name: `netpick.exam` discovers the modules, and after them the ones in your
own `./analysis` folder. Names that begin with an underscore are shared by several questions and are none themselves.

A question imports `netpick.exam` and nothing deeper. Options that many of them have (`everyone`, `good`, `gold`,
`quantile`, `split`) are described once, at `exam.selected` and `exam.students`.
"""

ORDER = (
    *("scores", "strategies", "activations"),
    *("study_time", "notes", "rough_work", "steps", "macs", "layer_times", "attempts", "curves"),
    *("easy", "weird", "confusing", "best", "pareto", "versus", "mistakes", "sweep"),
    *("committee", "cascade", "agreement", "suspects", "sets", "ability", "why_hard", "compare", "learning"),
    *("representative", "changes", "variance", "short"),
)
"""The order in which questions are listed; one that is not named here comes after these, and works just as well."""

ALIASES = {
    "params": "notes",
    "memory": "rough_work",
    "ops": "steps",
    "seconds": "study_time",
    "calibration": "sets",
}
"""What questions are called where nobody thinks of an exam."""

GROUPS: dict[str, tuple[str, ...]] = {
    "The exam": ("scores", "strategies", "activations", "attempts", "curves", "best", "versus"),
    "What it costs": ("study_time", "notes", "rough_work", "steps", "macs", "layer_times", "pareto"),
    "What was swept": ("sweep",),
    "The samples": (
        "mistakes",
        "easy",
        "weird",
        "confusing",
        "suspects",
        "why_hard",
        "representative",
        "learning",
        "ability",
        "short",
    ),
    "Networks together": ("committee", "cascade", "agreement"),
    "How sure": ("sets", "compare", "changes", "variance"),
}
"""The groups that they stand in on pages, in order; one that is named nowhere stands after these."""
