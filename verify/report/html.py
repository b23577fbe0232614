"""The report for people: one self-contained HTML page, for screens of any size, light or dark, and paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from verify.report.figures import drawn
from verify.report.outcome import Json, sentence, unexpected

HERE = Path(__file__).parent
SIGNS = {"proved": "✓", "refuted": "✗", "undecided": "?"}
"""Beside every verdict, so that no colour is needed to read it."""


def text(report: Json, folder: Path) -> str:
    """The page for a finished report whose certificates are in ``folder``.

    Whatever a claim, a case or a certificate says in words is shown as text; nothing in it can become markup.
    """
    return _template().render(
        report=report,
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        claims=report["claims"],
        slugs={claim["slug"] for claim in report["claims"]},
        wrong=[
            {"claim": claim, "sentence": sentence(claim), "cases": unexpected(claim)}
            for claim in report["claims"]
            if not claim["as_expected"]
        ],
        findings=list(_findings(report)),
        constants=list(_constants(report)),
        searched=[claim for claim in report["claims"] if claim["falsifier"] is not None],
        figures=[
            {"of": figure.picture, "caption": figure.caption, "svg": Markup(figure.svg)}
            for figure in drawn(report, folder)
        ],
        cases=sum(len(claim["cases"]) for claim in report["claims"]),
        certificates=sum(case["certificate"] is not None for claim in report["claims"] for case in claim["cases"]),
        signs=SIGNS,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["measured"] = measured
    environment.filters["formulas"] = formulas
    return environment.get_template("report.html.jinja")


SUBSCRIPT = re.compile(r"(?<![^\W\d_])([^\W\d_]\u0304?)_(?:\{([^{}]*)\}|(\w{1,2})(?!\w))")
SUPERSCRIPT = re.compile(r"\^(?:\{([^{}]*)\}|(\w+))")


def formulas(words: str) -> Markup:
    """Text in which indices and powers are set as such: ``W_1``, ``d_{ij}``, ``M^T``, ``δ^{−2}``. All else stays as it
    is, and stays text.

    >>> print(formulas("‖W_1‖ < 2^{−d}, my_name"))
    ‖W<sub>1</sub>‖ &lt; 2<sup>−d</sup>, my_name
    """
    safe = str(escape(words))
    safe = SUBSCRIPT.sub(lambda found: f"{found[1]}<sub>{found[2] or found[3] or ''}</sub>", safe)
    return Markup(SUPERSCRIPT.sub(lambda found: f"<sup>{found[1] or found[2] or ''}</sup>", safe))


def measured(sampled: Mapping[str, Any]) -> str:
    """The numbers of a case that were sampled, in one line; lists (a whole prompt) are left to report.json.

    >>> measured({"adversary_best_loss": 0.41, "adversary_prompt": [[1.0]], "prompt_length": None, "tried": 10**400})
    'adversary best loss 0.41, tried 1.00000e+400'
    """
    return ", ".join(
        f"{name.replace('_', ' ')} {Decimal(value) if isinstance(value, int) else value:.6g}"
        for name, value in sampled.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    )


def _findings(report: Json) -> Iterator[Json]:
    """Every finding with the case that witnesses it."""
    for claim in report["claims"]:
        cases = {case["name"]: case for case in claim["cases"]}
        for finding in claim["findings"]:
            yield {"claim": claim, "text": finding["text"], "name": finding["case"], "case": cases.get(finding["case"])}


def _constants(report: Json) -> Iterator[Json]:
    """Every constant with the case that certifies it; only of cases that were proved."""
    for claim in report["claims"]:
        for case in claim["cases"]:
            if case["verdict"] == "proved":
                for constant in case["constants"]:
                    yield {"claim": claim, "case": case, **constant}
