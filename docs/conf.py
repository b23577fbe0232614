"""The site: `make docs` builds it from the pages, the docstrings and the registry, and stops at any warning.

Sources are read from the root of the repository, so that links between pages are the same here and in a checkout.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import verify  # noqa: E402 - the package of this checkout

project = "promptcert"
author = "the promptcert authors"
release = version = verify.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.apidoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
root_doc = "docs/index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
include_patterns = ["docs/**", "README.md", "CHANGELOG.md", "benchmarks/README.md"]
exclude_patterns = ["docs/_build", "docs/examples"]

html_theme = "furo"
html_title = "promptcert"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

myst_heading_anchors = 3
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

apidoc_modules = [
    {
        "path": str(ROOT / package),
        "destination": f"docs/reference/{package}",
        "exclude_patterns": [str(ROOT / package / "kernel")],  # its modules import each other by bare names
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance", "ignore-module-all"},
    }
    for package in ("constructions", "verify")
]
autodoc_member_order = "bysource"

MARKUP = re.compile(r"(``.*?``|:[a-z]+:`[^`]*`|`[^`]*`_?)", re.DOTALL)
EXAMPLE = re.compile(r"^\s*>>> ")


def plain_mathematics(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Outside literals, roles and examples a docstring is prose with formulas: W_1, |x|, 2*m mean themselves."""
    paragraphs = "\n".join(lines).split("\n\n")
    escaped = [text if any(map(EXAMPLE.match, text.split("\n"))) else _escaped(text) for text in paragraphs]
    lines[:] = "\n\n".join(escaped).split("\n")


def _escaped(prose: str) -> str:
    pieces = MARKUP.split(prose)
    return "".join(piece if number % 2 else re.sub(r"([|*_])", r"\\\1", piece) for number, piece in enumerate(pieces))


def elsewhere(app: Any, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """What a module only imports has its place on another page, also where it is named like a module."""
    here = app.env.current_document.autodoc_module
    return True if what == "module" and getattr(obj, "__module__", here) != here else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", plain_mathematics)
    app.connect("autodoc-skip-member", elsewhere)
