"""A run's tables in Croissant 1.0, the vocabulary in which machines read what a data set holds.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html. Plain values in, plain values out; no files here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netpick.store.schema import Column

_CR = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
    "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{word: f"cr:{word}" for word in _CR},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The context that the specification gives, word for word."""

_TYPES = {
    "category": "sc:Text",
    "string": "sc:Text",
    "binary": "sc:ImageObject",
    "int8": "sc:Integer",
    "int16": "sc:Integer",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "bool": "sc:Boolean",
    "float32": "sc:Float",
    "float64": "sc:Float",
    "timestamp": "sc:DateTime",
}

_NULLABLE = ("peak_memory_bytes", "train_samples", "batch_size", "epochs", "seed", "fold")
"""Whole numbers that may be missing: as such they could not be read."""

PARQUET = "application/x-parquet"


def croissant(
    about: Mapping[str, Any],
    files: Mapping[str, str],
    sums: Mapping[str, str],
    tables: Mapping[str, Sequence[Column]],
) -> dict[str, Any]:
    """Describe a published run.

    Parameters
    ----------
    about : name, title, description, license, creator, date, year, images
    files : where each table lies: one file, or a pattern of several
    sums : SHA-256 of each single file
    tables : the columns of each table

    Returns
    -------
    dict
        JSON-LD.
    """
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": about["name"],
        "description": f"{about['title']}. {about['description']}",
        "license": about["license"],
        "creator": {"@type": "sc:Person", "name": about["creator"]},
        "datePublished": about["date"],
        "version": "1.0.0",
        "citeAs": f"{about['creator']} ({about['year']}): {about['title']}.",
        "distribution": [_distribution(table, path, sums) for table, path in files.items()],
        "recordSet": [_records(table, files[table], columns, about["images"]) for table, columns in tables.items()],
    }


def _distribution(table: str, path: str, sums: Mapping[str, str]) -> dict[str, Any]:
    common = {"@id": f"{table}-files", "name": f"{table}-files", "encodingFormat": PARQUET}
    if "*" in path:
        return {"@type": "cr:FileSet", **common, "includes": path}
    return {"@type": "cr:FileObject", **common, "contentUrl": path, "sha256": sums[path]}


def _records(table: str, path: str, columns: Sequence[Column], images: bool) -> dict[str, Any]:
    kind = "fileSet" if "*" in path else "fileObject"
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{table}/{column.name}",
            "name": f"{table}/{column.name}",
            "description": column.meaning + (f" Unit: {column.unit}." if column.unit else ""),
            "dataType": "sc:Float" if column.name in _NULLABLE else _TYPES[column.type],
            "source": {kind: {"@id": f"{table}-files"}, "extract": {"column": column.name}},
        }
        for column in columns
        if images or column.type != "binary"
    ]
    return {"@type": "cr:RecordSet", "@id": table, "name": table, "field": fields}
