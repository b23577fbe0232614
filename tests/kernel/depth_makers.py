"""Certificates about depth: rational weights, norm proofs by Cholesky factors of floats rounded to dyadics."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import depth_oracle as oracle
import kernel_certificates as make
import numpy as np
from depth_oracle import Floats

Json = Any


def dyadic(value: float, bits: int = 40) -> Fraction:
    return Fraction(round(value * 2**bits), 2**bits)


def above(value: float) -> Fraction:
    """A dyadic slightly above."""
    return dyadic(value * (1 + 1e-9) + 1e-9)


def matrix(W: Floats, bits: int = 40) -> Json:
    """A matrix of floats, rounded."""
    return make.matrix([[dyadic(x, bits) for x in row] for row in W.tolist()])


def columns(d: int) -> Json:
    """A d x 0 matrix."""
    return {"den": 1, "num": [[] for _ in range(d)]}


def norm_proof(W: Floats, bound: Fraction | None = None, bits: int = 40) -> Json:
    """The bound is a little above the norm unless given; without entries or with zeros only: no factor."""
    if not W.any():
        return {"bound": make.scalar(bound or 0), "factor": None}
    sigma = dyadic(oracle.norm(W) * 1.0001 + 1e-6) if bound is None else bound
    G = W @ W.T if W.shape[0] < W.shape[1] else W.T @ W
    rest = float(sigma) ** 2 * np.eye(len(G)) - G
    low = np.linalg.eigvalsh(rest)[0]
    try:
        factor = np.linalg.cholesky(rest - low / 2 * np.eye(len(G)))
    except np.linalg.LinAlgError:
        factor = np.zeros_like(G)
    return {"bound": make.scalar(sigma), "factor": matrix(factor, bits)}


def layer_proof(layer: Json, output: bool = False, mlp: bool = True) -> Json:
    """Norm proofs of all matrices of a layer."""
    read = oracle.Layer.read(layer)
    heads = [{"bilinear": norm_proof(head.A), "value": norm_proof(head.V)} for head in read.heads]
    joined = None
    if output:
        joined = {
            "joined": norm_proof(np.hstack([head.W_o for head in read.heads])),
            "values": [norm_proof(head.W_v) for head in read.heads],
        }
    W_1, W_2 = (norm_proof(read.W_1), norm_proof(read.W_2)) if mlp else (None, None)
    return {"heads": heads, "output": joined, "W_1": W_1, "W_2": W_2}


def stack(
    layers: list[Json], m_p: int = 1, m: int = 1, R_P: Json = 1, R_X: Json = 1, norm: str = "max", E: Json = None
) -> Json:
    if E is not None:
        layers = [{**layers[0], "E": make.matrix(E)}, *layers[1:]]
    return {
        "layers": layers,
        "norm": norm,
        "prompt_length": m_p,
        "input_length": m,
        "prompt_radius": make.scalar(R_P),
        "input_radius": make.scalar(R_X),
    }


@dataclass
class Random:
    """Layers with random dyadic weights."""

    rng: np.random.Generator
    bits: int = 20
    scales: dict[str, float] = field(default_factory=dict)

    def weights(self, height: int, width: int, name: str) -> list[list[Fraction]]:
        scale = self.scales.get(name, 0.5)
        W = self.rng.standard_normal((height, width)) * scale / max(1, height, width) ** 0.5
        return [[dyadic(x, self.bits) for x in row] for row in W.tolist()]

    def head(self, d: int, s: int, bias: bool = True) -> Json:
        W = {name: self.weights(s, d, name) for name in ("W_q", "W_k", "W_v")}
        b_q = [row[0] for row in self.weights(s, 1, "b_q")] if bias else [0] * s
        W_o = make.matrix(self.weights(d, s, "W_o"))
        return {**{name: make.matrix(rows) for name, rows in W.items()}, "W_o": W_o, "b_q": make.vector(b_q)}

    def mlp(self, d: int, r: int) -> Json:
        W_1, W_2 = self.weights(r, d, "W_1"), self.weights(d, r, "W_2")
        b_1, b_2 = ([row[0] for row in self.weights(n, 1, name)] for n, name in ((r, "b_1"), (d, "b_2")))
        return make.mlp(d, W_1=W_1, W_2=W_2, b_1=b_1, b_2=b_2)

    def layer(self, d: int, sizes: list[int], r: int = 0, causal: bool = False, bias: bool = True) -> Json:
        heads = [self.head(d, s, bias) for s in sizes]
        return {"heads": heads, "mlp": self.mlp(d, r), "causal": causal, "E": None}

    def tokens(self, d: int, count: int, radius: float) -> list[list[Fraction]]:
        """Columns of a length below the radius."""
        Z = self.rng.standard_normal((d, count))
        Z *= radius * 0.999 * self.rng.random(count) ** 0.2 / np.linalg.norm(Z, axis=0)
        return [[dyadic(x, self.bits) for x in row] for row in Z.tolist()]


def bound(stack_: Json, kind: str = "joint", bound_: Fraction | None = None, output: bool = False) -> Json:
    """Relation `bound`; without a number, a little above the constants from true norms."""
    if bound_ is None:
        ((a, _),) = oracle.Stack.read(stack_).constants(kind)
        bound_ = dyadic(a * 1.01 + 0.01, 20)
    instance = {"stack": stack_, "kind": kind, "bound": make.scalar(bound_)}
    witness = {"layer": layer_proof(stack_["layers"][0], output, mlp=False)}
    return make.certificate("attention-lipschitz", "bound", instance, witness)


def proofs(stack_: Json, output: bool = False) -> Json:
    return {"layers": [layer_proof(layer, output) for layer in stack_["layers"]]}


def injective(stack_: Json, output: bool = False) -> Json:
    return make.certificate("joint-injectivity", "injective", {"stack": stack_}, proofs(stack_, output))


def kept(relation: str, stack_: Json, factor: Json, inputs: Json = None, floor: Json = 0, output: bool = False) -> Json:
    """`small-product` or `layer-by-layer`."""
    instance = {
        "stack": stack_,
        "factor": make.scalar(factor),
        "inputs": None if inputs is None else [make.matrix(X) for X in inputs],
        "floor": make.scalar(floor),
    }
    return make.certificate("prompted-injectivity", relation, instance, proofs(stack_, output))


def slope(stack_: Json, Z: list[list[Fraction]], direction: Floats, kind: str = "joint", bound_: Json = None) -> Json:
    """Relation `slope`; without a number, a little below what is reached."""
    net = oracle.Stack.read(stack_)
    d, m_p, first = net.layers[0].d, net.m_p, 0 if kind == "joint" else net.m_p
    exact = [[dyadic(x, 20) for x in row] for row in direction.tolist()]
    if bound_ is None:
        D = np.array(exact, float)
        delta = net.layers[0].derivative(net.embedded(np.array(Z, float)), D)
        bound_ = dyadic(oracle.size_of(delta[:, first:], net.norm) / oracle.size_of(D, net.norm) * (1 - 1e-6))
    instance = {"stack": stack_, "kind": kind, "bound": make.scalar(bound_)}
    P, X = [row[:m_p] for row in Z], [row[m_p:] for row in Z]
    witness = {
        "P": make.matrix(P) if m_p else columns(d),
        "X": make.matrix(X),
        "direction": make.matrix(exact),
    }
    return make.certificate("attention-lipschitz", "slope", instance, witness, evidence="enclosed")


def halved(coordinates: int, depth: int, start: int = 0) -> Json:
    """All coordinates in turn."""
    if depth == 0:
        return "leaf"
    node = halved(coordinates, depth - 1, start + 1)
    return {"split": start % coordinates, "below": node, "above": node}


def box(
    layer: Json,
    Z: list[list[Fraction]],
    m_p: int,
    h: Json,
    bound_: Json,
    norm: str = "max",
    kind: str = "joint",
    tree: Json = "leaf",
    precision: int = 64,
) -> Json:
    P, X = [row[:m_p] for row in Z], [row[m_p:] for row in Z]
    instance = {
        "layer": layer,
        "norm": norm,
        "kind": kind,
        "P": make.matrix(P) if m_p else columns(len(Z)),
        "X": make.matrix(X),
        "half_width": make.scalar(h),
        "bound": make.scalar(bound_),
    }
    witness = {"tree": tree, "precision": precision}
    return make.certificate("attention-lipschitz", "box", instance, witness, evidence="enclosed")


def inverse(stack_: Json, Y: Json, Z: Json, error: Json, precision: int = 128, output: bool = False) -> Json:
    instance = {"stack": stack_, "Y": make.matrix(Y), "Z": make.matrix(Z), "error": make.scalar(error)}
    witness = {**proofs(stack_, output), "precision": precision}
    return make.certificate("joint-injectivity", "inverse", instance, witness, evidence="enclosed")
