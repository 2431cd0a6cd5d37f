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

SPREAD = (("computation",), "median")

COMPARED: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "scores": ((("epoch",), "at_90"),),
    **dict.fromkeys(("strategies", "activations"), ((("computation", "activation"), "median"),)),
    **dict.fromkeys(("study_time", "notes", "rough_work", "steps", "macs"), (SPREAD,)),
    "layer_times": ((("op",), "median"),),
    "attempts": ((("name",), "change"), (("computation", "epoch"), "median"), (("epoch",), "median")),
    "curves": ((("network", "epoch"), "accuracy"),),
    **dict.fromkeys(("easy", "weird", "confusing"), ((("sample",), "right"),)),
    "best": ((("class_name",), "accuracy"), (("class_name",), "auc")),
    "pareto": ((("name",), "accuracy"),),
    "mistakes": ((("sample",), "sure"),),
    "sweep": ((("line", "name", "value"), "accuracy"),),
    "committee": ((("choice", "rule", "size"), "accuracy"),),
    "agreement": ((("first", "second"), "kappa"),),
    "suspects": ((("sample",), "margin"),),
    "sets": ((("network",), "score"),),
    "ability": ((("sample",), "difficulty"), (("name",), "ability")),
    "why_hard": ((("sample", "way", "group"), "share"),),
    "learning": ((("sample",), "forgetting"),),
    "representative": ((("class_name",), "farther"), (("sample",), "nearest")),
    "variance": ((("source",), "sd"),),
    "short": ((("sample",), "right"),),
}
"""What `--against` compares: the columns that name a row, and the number; the first of which both tables have all.

Of a question that is not here the rows are of one run alone: pairs in the order of their difference, two networks of a
run that stand at the heads of columns.
"""

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
