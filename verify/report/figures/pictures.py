"""What the figures of the report show of their certificates, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from math import sin
from typing import Any

from matplotlib.figure import Figure

from constructions.numbers.digits import decimal_bound
from constructions.single_layer.loss_problem import LossProblem
from constructions.single_layer.preimage import preimage
from constructions.transformer import Transformer
from constructions.universality.for_all import Budget
from constructions.universality.grid import Grid
from constructions.universality.quantisation import Roots
from constructions.verdict import Undecided
from verify.report import instances as read
from verify.report.figures import collapse, cones, loss_curve, universality
from verify.report.figures.style import inline, styled

Json = dict[str, Any]


Told = tuple[Figure, str, str]
"""A figure, its caption, and what is read aloud in its place."""


def _problem(instance: Json) -> LossProblem:
    model, data = read.single_layer_data(instance)
    queries = list(data.queries(model))
    return LossProblem.of(model.layers[0], queries, [preimage(model.layers[0].mlp, query.target) for query in queries])


def _cones(certificate: Json, case: Json) -> Told | None:
    if certificate["witness"]["argument"] != "separation":
        return None
    ((separation, *others), *more) = certificate["witness"]["pairs"]
    if separation["argument"] != "cone" or others or more:
        return None
    problem, w = _problem(certificate["instance"]), read.vector(separation["w"])
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


def _loss_curve(certificate: Json, case: Json) -> Told | None:
    instance, witness = certificate["instance"], certificate["witness"]
    problem = _problem(instance)
    length = read.integer(instance["length"])
    lower = read.scalar(witness["lower"]["value"])
    shown = decimal_bound(lower, False, 6)
    tokens = "one token" if length == 1 else f"{length} tokens"
    reached = case["sampled"].get("gradient_descent_loss")
    attempts = [] if reached is None else [(length, reached)]
    figure = loss_curve.draw(problem, checked=(length, float(lower)), attempts=attempts)
    caption = (
        f"The least loss over all prompts of at most so many tokens, for the {len(problem.queries)} queries of this "
        f"certificate (width {len(problem.q)}). At {tokens} the kernel has checked that no prompt is below "
        f"{shown}."
    )
    if reached is not None:
        caption += f" Gradient descent reached {reached:.6g} there, which proves nothing."
    aloud = f"Falling curve of the least loss against the number of prompt tokens; at {tokens} it is {shown}."
    return figure, caption, aloud


def _universality(certificate: Json, case: Json) -> Told | None:
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


def _collapse(certificate: Json, case: Json) -> Told | None:
    model = Transformer(tuple(read.layer(part) for part in certificate["instance"]["layers"]))
    caption = (
        f"Three inputs with the same prompt token p through {len(model.layers)} layers, each of which is invertible on "
        "prompt and input together. After the last one all three inputs are at −p: what was different about them is "
        "in the prompt's tokens, which nobody reads."
    )
    aloud = "Panels of the plane, before the first layer and after each: three input tokens move and meet at minus p."
    return collapse.draw(model), caption, aloud


DRAW: dict[str, Callable[[Json, Json], Told | None]] = {
    "cones": _cones,
    "curve": _loss_curve,
    "table": _universality,
    "collapse": _collapse,
}


def draw(name: str, certificate: Json, case: Json) -> tuple[str, str] | None:
    """The picture of this name: its caption and its ``<svg>`` element; None when the certificate is not about what it
    shows, or its curve cannot be enclosed."""
    with styled():
        try:
            told = DRAW[name](certificate, case)
        except Undecided:
            return None
        if told is None:
            return None
        figure, caption, aloud = told
        return caption, inline(figure, name, aloud)
