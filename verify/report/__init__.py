"""The report of an audit for people (report.html) and for continuous integration (report.sarif, report.junit.xml).

Everything is made from the finished report document and the certificates beside it; nothing is decided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from constructions.documents import write_text
from verify.report import junit, sarif

FILES = ("report.html", "report.sarif", "report.junit.xml")


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write ``report.html``, ``report.sarif`` and ``report.junit.xml`` of a finished audit into its folder, where the
    certificates and ``report.json`` already are: the same bytes for the same report. Raises InputError."""
    from verify.report import html  # matplotlib and the template engine take a second to load

    write_text(folder / "report.sarif", sarif.text(report))
    write_text(folder / "report.junit.xml", junit.text(report))
    write_text(folder / "report.html", html.text(report, folder))
