"""The figures of the report, each drawn from a certificate of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A figure that is drawn when this case of a claim was proved."""

    name: str
    claim: str
    case: str
    title: str


@dataclass(frozen=True)
class Drawn:
    """A picture as an ``<svg>`` element, with its caption."""

    picture: Picture
    caption: str
    svg: str


PICTURES = (
    Picture("cones", "unmemorizable-pair", "cone-d2-mlp2", "A pair that no prompt memorizes"),
    Picture("curve", "prompt-law", "curve-d2-n2-mlp0-length-1", "What longer prompts still gain"),
    Picture("table", "universality-softmax", "for-all-d1-m1-eps1over10-p1", "A prompt for every function"),
    Picture("collapse", "prompted-injectivity", "collapse", "Invertible layers that forget their input"),
)


def drawn(report: Json, folder: Path) -> list[Drawn]:
    """The pictures of which the run has the case, proved; drawn from the certificate in ``folder``. A certificate that
    says something else than the picture shows (another seed can give another argument) gives none."""
    cases = {(claim["slug"], case["name"]): case for claim in report["claims"] for case in claim["cases"]}
    found = []
    for picture in PICTURES:
        case = cases.get((picture.claim, picture.case))
        if case is None or case["verdict"] != "proved":
            continue
        from verify.report.figures.pictures import draw  # matplotlib takes a second to load

        certificate = json.loads((folder / case["certificate"]).read_text(encoding="ascii"))
        made = draw(picture.name, certificate, case)
        if made is not None:
            found.append(Drawn(picture, *made))
    return found
