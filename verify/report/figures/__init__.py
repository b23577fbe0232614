"""The figures of the report, drawn from the certificates of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import sin
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.transformer import Transformer
from constructions.universality.for_all import Budget
from constructions.universality.grid import Grid
from constructions.universality.quantisation import Roots
from verify.report import instances as read
from verify.report.figures import collapse, cones, loss_curve, universality
from verify.report.figures.style import inline, styled

Json = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A figure of the report: an ``<svg>`` element, and what stands around it."""

    name: str
    claim: str
    case: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Picture:
    """A figure that can be drawn when the case of a claim was proved: ``draw(certificate, case)`` gives the figure, its
    caption, and what is read aloud in its place."""

    name: str
    claim: str
    case: str
    title: str
    draw: Callable[[Json, Json], tuple[Figure, str, str]]


def _problem(instance: Json) -> LossProblem:
    model, data = read.single_layer_data(instance)
    queries = list(data.queries(model))
    return LossProblem.of(model.layers[0], queries, [preimage(model.layers[0].mlp, query.target) for query in queries])


def _cones(certificate: Json, case: Json) -> tuple[Figure, str, str]:
    problem = _problem(certificate["instance"])
    w = read.vector(certificate["witness"]["pairs"][0][0]["w"])
    shown = ", ".join(str(x) for x in w)
    caption = (
        "Attention mixes its output u on the prompt alone with its output A on the context, so to meet a target u has "
        "to lie on the ray from a, away from A. The two rays lie on different sides of the line across "
        f"w = ({shown}), so no u, and no prompt of any length, serves both examples."
    )
    aloud = (
        "Plane with two rays, one for each example, on opposite sides of a dashed line through the origin; the line is "
        f"perpendicular to w = ({shown})."
    )
    return cones.draw(problem, w), caption, aloud


def _loss_curve(certificate: Json, case: Json) -> tuple[Figure, str, str]:
    instance, witness = certificate["instance"], certificate["witness"]
    problem = _problem(instance)
    length = read.integer(instance["length"])
    lower = float(read.scalar(witness["lower"]["value"]))
    tokens = "one token" if length == 1 else f"{length} tokens"
    reached = case["sampled"].get("gradient_descent_loss")
    attempts = [] if reached is None else [(length, reached)]
    figure = loss_curve.draw(problem, checked=(length, lower), attempts=attempts)
    caption = (
        f"The least loss over all prompts of at most so many tokens, for the {len(problem.queries)} queries of this "
        f"certificate (width {len(problem.q)}). At {tokens} the kernel has checked that no prompt is below "
        f"{lower:.6g}."
    )
    if reached is not None:
        caption += f" Gradient descent reached {reached:.6g} there, which proves nothing."
    aloud = f"Falling curve of the least loss against the number of prompt tokens; at {tokens} it is {lower:.4g}."
    return figure, caption, aloud


def _universality(certificate: Json, case: Json) -> tuple[Figure, str, str]:
    instance, witness = certificate["instance"], certificate["witness"]
    grid = Grid(instance["d"], instance["m"], instance["k"])
    named = {name: read.scalar(instance[name]) for name in ("L", "p", "epsilon")}
    shares = {name: read.scalar(witness[name]) for name in ("root_m", "t", "eta", "epsilon_s", "epsilon_r")}
    roots = Roots(*[read.scalar(root) for root in witness["roots"]])
    found = Budget(grid=grid, G=read.integer(instance["G"]), roots=roots, **named, **shares)
    figure = universality.draw(found, "(1+sin(2*x))/2", lambda x: (1 + sin(2 * x)) / 2)
    caption = (
        f"One softmax network serves every {found.L}-Lipschitz function within ε = {found.epsilon}: the prompt is the "
        f"function's table. Here f(x) = (1 + sin 2x)/2, and the network's output at 96 inputs, enclosed by balls that "
        "are too small to see. The certificate is about all such functions at once; this is one of them."
    )
    aloud = "A smooth curve, a staircase of its grid values, and the network's outputs on the middles of the stairs."
    return figure, caption, aloud


def _collapse(certificate: Json, case: Json) -> tuple[Figure, str, str]:
    model = Transformer(tuple(read.layer(part) for part in certificate["instance"]["layers"]))
    caption = (
        f"Three inputs with the same prompt token p through {len(model.layers)} layers, each of which is invertible on "
        "prompt and input together. After the last one all three inputs are at −p: what was different about them is "
        "in the prompt's tokens, which nobody reads."
    )
    aloud = "Panels of the plane, before the first layer and after each: three input tokens move and meet at minus p."
    return collapse.draw(model), caption, aloud


PICTURES = (
    Picture("cones", "unmemorizable-pair", "cone-d2-mlp2", "A pair that no prompt memorizes", _cones),
    Picture("curve", "prompt-law", "curve-d2-n2-mlp0-length-1", "What longer prompts still gain", _loss_curve),
    Picture(
        "table", "universality-softmax", "for-all-d1-m1-eps1over10-p1", "A prompt for every function", _universality
    ),
    Picture("collapse", "prompted-injectivity", "collapse", "Invertible layers that forget their input", _collapse),
)


def drawn(report: Json, folder: Path) -> list[Drawn]:
    """The figures of which the run has the case, proved; drawn from the certificate in ``folder``."""
    cases = {(claim["slug"], case["name"]): case for claim in report["claims"] for case in claim["cases"]}
    found = []
    for picture in PICTURES:
        case = cases.get((picture.claim, picture.case))
        if case is None or case["certificate"] is None:
            continue
        certificate = json.loads((folder / case["certificate"]).read_text(encoding="ascii"))
        with styled():
            figure, caption, aloud = picture.draw(certificate, case)
            svg = inline(figure, picture.name, aloud)
        found.append(Drawn(picture.name, picture.claim, picture.case, picture.title, caption, svg))
    return found
