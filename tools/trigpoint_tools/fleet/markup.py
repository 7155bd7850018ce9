"""HTML and SVG as a tree of elements, so that no text can ever become markup.

What is written is well-formed XML and means the same to a browser that reads it as HTML, as long as no element is one
that HTML calls void (br, img, meta): those stand in the page's fixed frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

Element = ET.Element
Child = ET.Element | str | None

_NOT_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) has no way to say, not even escaped."""


def make(tag: str, *children: Child, **attributes: str | float | None) -> ET.Element:
    """Return an element with its attributes and children; None among either is left out.

    An attribute's name may end in an underscore (`class_`), and underscores inside it stand for hyphens. Numbers are
    written with one decimal at most, which is enough for a picture.
    """
    element = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None:
            element.set(
                name.rstrip("_").replace("_", "-"), number(value) if not isinstance(value, str) else text(value)
            )
    return extend(element, children)


def extend(element: ET.Element, children: Iterable[Child]) -> ET.Element:
    """Add children to an element and return it."""
    for child in children:
        if isinstance(child, str):
            if len(element):
                element[-1].tail = (element[-1].tail or "") + text(child)
            else:
                element.text = (element.text or "") + text(child)
        elif child is not None:
            element.append(child)
    return element


def write(element: ET.Element) -> str:
    """Return the element as text that is both XML and HTML."""
    return ET.tostring(element, encoding="unicode", short_empty_elements=False)


def text(value: str) -> str:
    """Return the text with a replacement character for each one that a document cannot hold."""
    return _NOT_TEXT.sub("\ufffd", value)


def number(value: float) -> str:
    """Return a coordinate: one decimal at most, and none where it says nothing."""
    written = f"{value:.1f}"
    return written[:-2] if written.endswith(".0") else written
