"""How figures look: one palette, and SVG that takes its colours from the page around it.

A figure is drawn in the colours of the light page. ``inline`` names them by CSS variables instead, so that a page in
the dark shows them in its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from constructions.documents import write_bytes

INK, MUTED, RULE, PAPER = "#1c2330", "#5b6472", "#cfd5de", "#fefefc"
BLUE, ORANGE, GREEN, PURPLE = "#1f5fa8", "#b4530a", "#1d7a4c", "#7a3e9d"
SERIES = (BLUE, ORANGE, GREEN, PURPLE)
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    PURPLE: "--purple",
}
WIDTH = 5.0
"""Inches: as wide as a telephone shows it without making the letters too small."""
RC: dict[Any, Any] = {
    "svg.hashsalt": "promptcert",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=SERIES),
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "grid.color": RULE,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
}
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
_COLOUR = re.compile("#[0-9a-f]{6}", re.IGNORECASE)


@contextmanager
def styled() -> Iterator[None]:
    """The style of the figures, whatever the settings around it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; to be called and filled within :func:`styled`."""
    return Figure(figsize=(width, height), layout="constrained")


def panel(figure: Figure) -> Axes:
    """The only axes of a figure."""
    axes: Axes = figure.subplots()
    return axes


def svg(figure: Figure, *, paper: str = "none") -> bytes:
    """The figure in the colours of a light page, on ``paper``: the same bytes each time."""
    stream = BytesIO()
    with styled():
        figure.savefig(stream, format="svg", metadata={"Date": None}, facecolor=paper)
    return stream.getvalue()


def write_svg(path: Path, figure: Figure) -> None:
    """Write the figure as a file of its own, on light paper. Raises InputError."""
    write_bytes(path, svg(figure, paper=PAPER))


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an ``<svg>`` element for an HTML page, its colours as CSS variables, its ids beginning with
    ``name``; ``title`` is what is read aloud in its place.

    Raises ValueError for a colour that is not in the palette, which would not change in the dark.
    """
    root = ET.fromstring(svg(figure))
    for part in list(root):
        if part.tag == f"{{{SVG}}}metadata":
            root.remove(part)
    for parent in list(root.iter()):
        for part in list(parent):
            if part.tag == f"{{{SVG}}}style":  # it would hold for the whole page
                parent.remove(part)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key == "id":
                value = f"{name}-{value}"
            value = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value)
            if key == f"{{{XLINK}}}href":
                key, value = "href", f"#{name}-{value.removeprefix('#')}"
            elif key == "style":
                value = _COLOUR.sub(lambda found: f"var({_variable(found.group())})", value)
            element.set(key, value)
    for key in ("width", "height", "version", "id"):
        root.attrib.pop(key, None)
    root.attrib.update({"role": "img", "aria-label": title, "class": "drawing"})
    return ET.tostring(root, encoding="unicode")


def _variable(colour: str) -> str:
    name = VARIABLES.get(colour.lower())
    if name is None:
        raise ValueError(f"figure: expected only colours of the palette, found {colour}")
    return name
