"""What a network and its hash may be called: files of a run are called by them, whoever wrote the run."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
HASH = re.compile(r"[A-Za-z0-9_]{1,64}")
STEM = re.compile(HASH.pattern + r"-[0-9]{1,6}")


def is_name(name: object) -> bool:
    """Whether this can be the name of a network."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None and name not in (".", "..")


def is_file_name(name: object) -> bool:
    """Whether files can be called by this, and a terminal shows it: so may networks be called of a run that is there.

    Wider than what netpick gives, so that runs of others stay readable.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 150 or not name.isprintable():
        return False
    return name[0] != "." and "/" not in name and "\\" not in name


def is_unicode(text: str) -> bool:
    """Whether a name has characters alone: one of the system that is not UTF-8 has halves of characters in it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_hash(text: object) -> bool:
    """Whether this can be the hash of a network."""
    return isinstance(text, str) and HASH.fullmatch(text) is not None


def is_stem(text: object) -> bool:
    """Whether this can be the hash of a network and the number of a replicate, as the files of a training are named."""
    return isinstance(text, str) and STEM.fullmatch(text) is not None
