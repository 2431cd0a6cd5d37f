"""What the networks of a run are made of, as plain data; nothing is checked or built."""

from __future__ import annotations

import json
from typing import Any

from netpick.store.reader import Reader


def layers(run: Reader) -> dict[str, list[dict[str, Any]]]:
    """Return the layers of each network by its name, as plain data: `op`, and the arguments that were given."""

    def make() -> dict[str, list[dict[str, Any]]]:
        texts = zip(run.networks["name"], run.networks["layers"], strict=True)
        return {name: json.loads(text) for name, text in texts}

    return run.once("layers", make)
