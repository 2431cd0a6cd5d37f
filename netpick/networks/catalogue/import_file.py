"""Networks from a file that may be anyone's: JSON or JSON lines in the form of docs/reference/operations.md.

Nothing in such a file can run code or reach outside the run's folder: names are plain words, operations come from the
tables of `operations` and `whole`, and every shape and size is worked out on paper before anything is built. File,
nesting, networks and layers are bounded. What is not right is one line that names the file, the network and the layer.
"""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netpick.core.errors import SpecError, listed, suggest
from netpick.core.files import read_text
from netpick.core.names import NAME, is_name
from netpick.networks.catalogue import sweeps
from netpick.networks.paper.activations import ACTIVATIONS
from netpick.networks.paper.in_place import overwrites
from netpick.networks.paper.inferred import MIXED, family_of
from netpick.networks.paper.operation import Shape
from netpick.networks.paper.operations import ENDS, OPERATIONS
from netpick.networks.paper.spec import LayerSpec, NetworkSpec, Size, check, read_layers, walk
from netpick.networks.paper.whole_networks import BASELINES, MODELS, OWN, WHOLE, is_baseline

MAX_BYTES = 64 * 2**20
MAX_BRACKETS = 4_000_000
"""Objects and lists of a file: a file of that size that has real networks in it has fewer by far."""
MAX_LAYERS = 1000
MAX_PARAMS = 100_000_000
"""With gradients and Adam's two averages this is 1.6 GB for one training."""
MAX_MEMORY = 100_000_000
"""Elements held for one input."""
MAX_MACS = 10**12
"""Multiply-accumulates for one input: a minute on a core."""

KEYS = ("name", "computation", "activation", "layers")


@dataclass(frozen=True)
class Taken:
    """The networks that were taken over, and what is to be said of it."""

    networks: list[NetworkSpec]
    notes: list[str]


def read(path: str | Path, image: Shape, classes: int, max_params: int = MAX_PARAMS) -> Taken:
    """Read a file of networks; see `parse`. Raises SpecError where it can't be read or is larger than 64 MiB."""
    try:
        text = read_text(path, MAX_BYTES)
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not a text file in UTF-8 ({error.reason} at byte {error.start})") from None
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        if getattr(error, "errno", None) == errno.EFBIG:
            raise SpecError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, split it into several runs") from None
        what = getattr(error, "strerror", None) or error
        raise SpecError(f"{str(path)!r:.200}: can't be read ({what}): give a file of JSON or JSON lines") from None
    return parse(text.removeprefix("\ufeff"), str(path), image, classes, max_params)


def parse(text: str, source: str, image: Shape, classes: int, max_params: int = MAX_PARAMS) -> Taken:
    """Read networks from text: a list of them, a single one, or one a line.

    Parameters
    ----------
    text : JSON, or JSON lines
    source : where it is from, for messages
    image : shape [C, H, W] of one image
    classes : number of classes
    max_params : a network with more parameters is refused

    Returns
    -------
    Taken
        Of networks with the same layers the first is kept, and the others are named in a note: results belong to the
        layers, and there would be two names for one result.

    Raises
    ------
    SpecError
        Not JSON, too much of anything, an unknown key, operation or argument, a shape that does not fit, a name that
        is taken or no plain word.
    """
    out: list[NetworkSpec] = []
    names: set[str] = set()
    hashes: dict[str, str] = {}
    repeated: list[str] = []
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise SpecError(f"{source}: has more than {MAX_BRACKETS:,} objects and lists, split it into several runs")
    entries = _entries(text, source)
    if len(entries) > sweeps.MOST:
        raise SpecError(f"{source}: has {len(entries)} networks, at most {sweeps.MOST} are taken: split it up")
    if not entries:
        raise SpecError(f"{source}: has no network in it")
    for number, entry in enumerate(entries, 1):
        try:
            spec = network(entry, image, classes, max_params)
        except SpecError as error:
            name = entry.get("name") if isinstance(entry, Mapping) else None
            shown = f" ({name})" if isinstance(name, str) and NAME.fullmatch(name) else ""
            raise SpecError(f"{source}: network {number}{shown}: {error}") from None
        if spec.name in names:
            raise SpecError(
                f"{source}: network {number}: the name '{spec.name}' is taken, give each network a name of its own"
            )
        names.add(spec.name)
        if spec.hash in hashes:
            repeated.append(f"{spec.name} (as {hashes[spec.hash]})")
            continue
        hashes[spec.hash] = spec.name
        out.append(spec)
    notes = [f"left out, since earlier networks have the same layers: {listed(repeated, 10)}"] if repeated else []
    return Taken(out, notes)


def network(entry: Any, image: Shape, classes: int, max_params: int = MAX_PARAMS) -> NetworkSpec:
    """Make one network of plain values that nobody has looked at; raises SpecError."""
    if not isinstance(entry, Mapping):
        raise SpecError(f"wants an object with name and layers, got {entry!r:.80}")
    for key in entry:
        if key not in KEYS:
            raise SpecError(f"unknown key '{key:.100}'{suggest(key[:100], KEYS)}; allowed are {listed(KEYS)}")
    name = entry.get("name")
    if not is_name(name):
        raise SpecError(f"name: got {name!r:.80}, allowed are 1 to 100 of A-Z a-z 0-9 _ . - and not . or .. alone")
    layers = _layers(entry.get("layers"), image, classes)
    size = check(layers, image, classes)
    if layers[-1].op not in ENDS and not is_baseline(layers):
        raise SpecError(f"layer {len(layers) - 1}: the last layer must be {' or '.join(ENDS)}, got {layers[-1].op}")
    _judge(layers, image, size, max_params)
    computation, activation = family_of(layers)
    words = {"computation": computation, "activation": activation}
    for key in words:
        word = entry.get(key)
        if word is not None:
            if not isinstance(word, str) or not NAME.fullmatch(word):
                raise SpecError(f"{key}: got {word!r:.80}, allowed are 1 to 100 of A-Z a-z 0-9 _ . -")
            words[key] = word
    known = ["None", MIXED, *ACTIVATIONS]
    if words["activation"] not in known:
        near = suggest(words["activation"], known)
        raise SpecError(f"activation: unknown '{words['activation']}'{near}; allowed are {listed(known, 40)}")
    return NetworkSpec(str(name), words["computation"], words["activation"], tuple(layers))


def to_lines(networks: Sequence[NetworkSpec]) -> str:
    """Write networks as JSON lines, which `parse` reads."""
    return "".join(json.dumps(spec.to_dict()) + "\n" for spec in networks)


def _layers(given: Any, image: Shape, classes: int) -> list[LayerSpec]:
    if not isinstance(given, list) or not given:
        raise SpecError(f"layers: wants a list of layers, got {given!r:.80}")
    if len(given) > MAX_LAYERS:
        raise SpecError(f"layers: got {len(given)}, at most {MAX_LAYERS} are taken")
    for index, entry in enumerate(given):
        op = entry.get("op") if isinstance(entry, Mapping) else None
        if not isinstance(op, str):
            raise SpecError(f"layer {index}: wants an object with an 'op', got {entry!r:.80}")
        if op == OWN or (op not in OPERATIONS and op not in WHOLE):
            known = [*OPERATIONS, *BASELINES, *MODELS]
            raise SpecError(
                f"layer {index}: unknown operation '{op:.100}'{suggest(op[:100], known)}; "
                f"allowed are {listed(OPERATIONS, 100)}, baseline:..., sklearn:..., torchvision:..."
            )
    return read_layers(given, image, classes)


def _judge(layers: Sequence[LayerSpec], image: Shape, size: Size, max_params: int) -> None:
    """Refuse on paper what would not fit into memory, or would not end."""
    if size.params > max_params:
        raise SpecError(f"has {size.params:,} parameters, at most {max_params:,} are taken: see --max-params")
    memory = math.prod(image)
    for index, (shape, _) in enumerate(walk(layers, image)):
        memory += 0 if overwrites(layers[index]) else math.prod(shape)
        if memory > MAX_MEMORY:
            raise SpecError(f"layer {index}: holds {memory:,} elements for one input, at most {MAX_MEMORY:,} are taken")
    if size.macs > MAX_MACS:
        raise SpecError(f"takes {size.macs:,} multiply-accumulates for one input, at most {MAX_MACS:,} are taken")


def judge(name: str, params: int, memory: int, max_params: int = MAX_PARAMS) -> None:
    """Refuse what turned out to be too large when it was measured; raises SpecError."""
    for count, most, what in ((params, max_params, "parameters"), (memory, MAX_MEMORY, "elements for one input")):
        if count > most:
            way = ": see --max-params" if most == max_params else ""
            raise SpecError(f"network {name}: has {count:,} {what}, at most {most:,} are taken{way}")


def _entries(text: str, source: str) -> list[Any]:
    """Return the values in a text of JSON or JSON lines; SpecError says the line."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    try:
        _load(first)
        several = sum(1 for line in lines if line.strip()) > 1
    except ValueError:
        several = False  # one value over several lines
    if not several:
        value = _line(text, source, "")
        return value if isinstance(value, list) else [value]
    return [_line(line, source, f" line {i}:") for i, line in enumerate(lines, 1) if line.strip()]


def _line(text: str, source: str, where: str) -> Any:
    try:
        return _load(text)
    except json.JSONDecodeError as error:
        place = f"{error.msg} at line {error.lineno}, column {error.colno}" if not where else f"{error.msg}"
        raise SpecError(f"{source}:{where} not valid JSON: {place}") from None
    except ValueError as error:
        raise SpecError(f"{source}:{where} not valid: {error}") from None


def _load(text: str) -> Any:
    """Parse JSON; ValueError for what JSON does not know, for keys given twice, and for what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise ValueError(f"the key '{key:.100}' is given twice in one object")
        out[key] = value
    return out
