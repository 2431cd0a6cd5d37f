"""Figures as a part of a page: SVG whose text is text, with names of its own and nothing in it that could act.

What comes from matplotlib is taken apart and only what is known to be harmless is written again. An SVG that has
anything else in it, or is large, is no part of a page: an image in pixels takes its place. Nothing is drawn here.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

LARGEST = 500_000
"""Bytes of the SVG files that become part of a page; larger ones make a page slow."""

PIXELS = "data:image/png;base64,"
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = {"svg", "g", "defs", "clipPath", "pattern", "rect", "path", "use", "text", "tspan", "image"}
_ATTRIBUTES = {
    *("id", "href", "d", "x", "y", "width", "height", "viewBox", "transform", "clip-path", "style", "fill", "stroke"),
    *("patternUnits", "patternContentUnits"),
}
_LEFT_OUT = {"metadata", "style"}
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")


class _NotKnownError(Exception):
    """Something in an SVG that is not known to be harmless."""


def drawing(svg: bytes, name: str, alt: str) -> str | None:
    """Return an SVG file as an element of an HTML page; None where it is large, or has in it what is not known.

    Parameters
    ----------
    svg : bytes
        As matplotlib writes it, under the theme.
    name : str
        Unique on the page: what refers to something within the SVG file is named after it.
    alt : str
        What the figure shows, for those who do not see it.
    """
    if len(svg) > LARGEST:
        return None
    try:
        given = ET.fromstring(svg)
        used = {link for each in given.iter() for link in _links(each)}
        root = _written_again(given, f"{name}-", used)
    except (ET.ParseError, _NotKnownError):
        return None
    root.attrib = {"viewBox": root.get("viewBox", ""), "role": "img", "aria-label": alt}
    return ET.tostring(root, encoding="unicode")


def _links(element: ET.Element) -> list[str]:
    """Return the ids within the file that an element refers to."""
    link = element.get(_LINK) or element.get("href") or ""
    return [link[1:], *(target for value in element.attrib.values() for target in _REFERENCE.findall(value))]


def _written_again(given: ET.Element, prefix: str, used: set[str]) -> ET.Element:
    """Return an element with what is known to be harmless, and only the ids that are referred to, with a prefix."""
    tag = str(given.tag).removeprefix(_SVG)
    if tag not in _ELEMENTS:
        raise _NotKnownError(tag)
    out = ET.Element(tag)
    for key, value in given.attrib.items():
        name = "href" if key == _LINK else key
        if name == "version" or (name == "id" and value not in used):
            continue
        if name not in _ATTRIBUTES:
            raise _NotKnownError(name)
        out.set(name, _harmless(tag, name, " ".join(value.split()), prefix))
    if tag in ("text", "tspan"):
        out.text = given.text
    for child in given:
        if str(child.tag).removeprefix(_SVG) in _LEFT_OUT:
            continue
        out.append(inner := _written_again(child, prefix, used))
        inner.tail = child.tail if tag in ("text", "tspan") else None
    return out


def _harmless(tag: str, name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href":
        if tag == "image" and value.startswith(PIXELS):
            return PIXELS + value.removeprefix(PIXELS).replace(" ", "")
        if value.startswith("#"):
            return f"#{prefix}{value[1:]}"
        raise _NotKnownError(value)
    value = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
    if re.search(r"url\((?!#)|[@\\]|/\*", value):
        raise _NotKnownError(value)
    return value
