"""Commands as they are advised: copied into a shell they do what they say, whatever a folder or a network is called."""

from __future__ import annotations

import shlex
from pathlib import PurePath


def command(*words: object) -> str:
    """Return a command of netpick's, each word quoted where a shell would read more in it than a word.

    A path that begins with a dash is written so that it is no option.
    """
    return shlex.join(["netpick", *(_word(word) for word in words)])


def _word(word: object) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, PurePath) and text.startswith("-") else text
