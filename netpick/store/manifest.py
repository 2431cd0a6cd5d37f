"""What run.toml says: read once within bounds, and checked, since a run may be anyone's.

Each value has the type that netpick writes it in; keys that are not known here stay as they are, for those of another
version. Nothing is required that a run can be read without: what asks for more is told what is missing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import tomli_w
from msgspec import Meta, Struct

from netpick.core.errors import RunError
from netpick.core.files import read_text
from netpick.core.recipe import Recipe, current
from netpick.core.texts import parse_toml
from netpick.core.typed import convert
from netpick.store.schema import SCHEMA_VERSION

MANIFEST = "run.toml"
MOST_BYTES = 2**22
AGAIN = "restore it from a copy, or generate the run again"

SCORES = ("all", "last", "none")

_SUM = re.compile("# CRC-32 of the lines below: ([0-9a-f]{8})")

Side = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Natural = Annotated[int, Meta(ge=0)]


class _Data(TypedDict, total=False):
    classes: list[str]
    path: str
    image_size: Annotated[list[Side], Meta(min_length=2, max_length=2)]
    color: str
    skip_unreadable: bool


class _Input(TypedDict, total=False):
    mean: list[float]
    std: list[float]
    digest: str
    digests: dict[str, str]
    left_out: Natural


class _Keep(TypedDict, total=False):
    scores: Literal["all", "last", "none"]
    weights: Literal["last", "none"]


class _Training(TypedDict, total=False):
    device: str
    devices: list[str]
    workers: Annotated[int, Meta(ge=1)]


class _Imported(TypedDict, total=False):
    files: list[str]
    columns: list[str]


class _Relabelled(TypedDict):
    of: str
    file: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    labels: Natural


class _Keys(TypedDict, total=False):
    schema_version: Annotated[int, Meta(ge=1)]
    classes: Annotated[list[str], Meta(min_length=1, max_length=2**15 - 1)]
    created: datetime
    title: str
    source: str
    dataset: str
    shape: Annotated[list[Side], Meta(min_length=3, max_length=3)]
    data: _Data
    seed: int
    limit: int
    networks: Natural
    catalogue: str
    git_commit: str
    versions: dict[str, str]
    recipe: Recipe
    template: dict[str, Any]
    input: _Input
    keep: _Keep
    plan: str
    training: _Training
    imported: _Imported
    relabelled: list[_Relabelled]


class Manifest(dict[str, Any]):
    """The values of run.toml. Asking for a key that isn't there raises RunError; `get` has another value for it."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise RunError(f"{self.path} has no {key}, which this needs: {AGAIN}")


def read_manifest(path: Path) -> Manifest:
    """Read run.toml.

    Raises
    ------
    FileNotFoundError
        There is none.
    RunError
        It can't be read, is no TOML, is of a newer schema, has a value of another kind than netpick writes there, or is
        not what its first line has the checksum of.
    """
    try:
        text = read_text(path, MOST_BYTES)
        raw = parse_toml(text)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as e:
        raise RunError(f"{path} can't be read ({e}): remove the folder and generate it again") from None
    except ValueError as e:
        raise RunError(
            f"{path} is not valid TOML ({e}): repair it, or remove the folder and generate it again"
        ) from None
    manifest = checked_manifest(raw, path)
    head, _, lines = text.partition("\n")
    if (said := _SUM.fullmatch(head)) and said[1] != _sum(lines.encode()):
        raise RunError(
            f"{path} is not as it was written (the checksum in its first line is another): restore it from a copy, or, "
            "where you changed it yourself, remove that line"
        )
    return manifest


def raw_manifest(path: Path) -> dict[str, Any]:
    """Parse run.toml, whatever its values are; raises OSError, or ValueError where it isn't TOML."""
    return parse_toml(read_text(path, MOST_BYTES))


def checked_manifest(raw: Mapping[str, Any], path: Path) -> Manifest:
    """Return the values of a manifest in their types; raises RunError."""
    if not {"schema_version", "classes"} <= raw.keys():
        raise RunError(f"{path} lacks schema_version or classes, it is not a run's: {AGAIN}")
    version = raw["schema_version"]
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{path.parent} has schema {version} and this netpick reads up to {SCHEMA_VERSION}: upgrade netpick to "
            "read it"
        )
    recipe = raw.get("recipe")
    if isinstance(recipe, dict):
        recipe = current(recipe)
        raw = {**raw, "recipe": recipe}
    known = {k: v for k, v in recipe.items() if k in Recipe.__struct_fields__} if isinstance(recipe, dict) else recipe
    values = convert({**raw, **({} if known is None else {"recipe": known})}, _Keys, str(path), "", RunError)
    scale, shape = values.get("input", {}), values.get("shape")
    for key in ("mean", "std"):
        if shape and key in scale and len(scale[key]) != shape[0]:
            raise RunError(f"{path}: input.{key}: expected one number a channel, {shape[0]}, got {scale[key]!r:.80}")
    return Manifest(_typed(raw, values), path)


def manifest_text(manifest: Mapping[str, Any], path: Path) -> bytes:
    """Return the text of run.toml; RunError where it would be larger than what is read."""
    lines = tomli_w.dumps(manifest).encode()
    text = f"# CRC-32 of the lines below: {_sum(lines)}\n".encode() + lines
    if len(text) > MOST_BYTES:
        raise RunError(f"{path} would be larger than {MOST_BYTES >> 20} MiB: make several runs of a smaller template")
    return text


def _sum(lines: bytes) -> str:
    return f"{zlib.crc32(lines):08x}"


def _typed(raw: Any, values: Any) -> Any:
    """Return plain values as they were written, those that are known in their types."""
    if isinstance(values, Struct):
        values = msgspec.structs.asdict(values)
    if isinstance(raw, dict) and isinstance(values, dict):
        return {key: _typed(value, values[key]) if key in values else value for key, value in raw.items()}
    return values
