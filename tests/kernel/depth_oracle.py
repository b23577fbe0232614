"""A second reading of the claims about depth, in floats: layers, derivatives, constants from singular values.

Tokens are columns here. Nothing is taken from the kernel or the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from kernel_oracle import number
from numpy.typing import NDArray

Json = Any
Floats = NDArray[np.float64]
SLACK = 1e-9


def array(value: Json, height: int | None = None, width: int | None = None) -> Floats:
    """A scalar, vector or matrix as floats; the shape is needed where it is not in the list."""
    den = number(value["den"])

    def divided(num: Json) -> Any:
        return [divided(n) for n in num] if isinstance(num, list) else number(num) / den

    result = np.array(divided(value["num"]), float)
    if height is not None:
        result = result.reshape(height, -1 if width is None else width)
    return result


def norm(W: Floats) -> float:
    return float(np.linalg.norm(W, 2)) if W.size else 0.0


def size_of(Z: Floats, kind: str) -> float:
    """The norm of a matrix of tokens."""
    lengths = np.linalg.norm(Z, axis=0)
    return float(lengths.max() if kind == "max" else np.sqrt((lengths**2).sum()))


@dataclass
class Head:
    W_q: Floats
    W_k: Floats
    W_v: Floats
    W_o: Floats
    b_q: Floats

    @property
    def A(self) -> Floats:
        return self.W_k.T @ self.W_q

    @property
    def b(self) -> Floats:
        return self.W_k.T @ self.b_q

    @property
    def V(self) -> Floats:
        return self.W_o @ self.W_v

    def weights(self, Z: Floats, causal: bool) -> Floats:
        """Row j: the weights of token j."""
        scores = (self.A @ Z + self.b[:, None]).T @ Z
        if causal:
            scores = np.where(np.tri(Z.shape[1], dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def derivative(self, Z: Floats, D: Floats, causal: bool) -> Floats:
        """Of the output in direction D, by that of softmax, diag(s) - s s^T."""
        S = self.weights(Z, causal)
        scores = (self.A @ D).T @ Z + (self.A @ Z + self.b[:, None]).T @ D
        change = S * scores - S * (S * scores).sum(axis=1, keepdims=True)
        return self.V @ (D @ S.T + Z @ change.T)


@dataclass
class Layer:
    heads: list[Head]
    W_1: Floats
    b_1: Floats
    W_2: Floats
    b_2: Floats
    causal: bool
    E: Floats | None

    @classmethod
    def read(cls, layer: Json) -> Layer:
        b_1, b_2 = array(layer["mlp"]["b_1"]), array(layer["mlp"]["b_2"])
        r, d = len(b_1), len(b_2)
        heads = []
        for head in layer["heads"]:
            b_q = array(head["b_q"])
            s = len(b_q)
            heads.append(
                Head(*(array(head[name], s, d) for name in ("W_q", "W_k", "W_v")), array(head["W_o"], d, s), b_q)
            )
        E = None if layer["E"] is None else array(layer["E"])
        return cls(
            heads, array(layer["mlp"]["W_1"], r, d), b_1, array(layer["mlp"]["W_2"], d, r), b_2, layer["causal"], E
        )

    @property
    def d(self) -> int:
        return len(self.b_2)

    def attention(self, Z: Floats) -> Floats:
        total = np.zeros_like(Z)
        for head in self.heads:
            total += head.V @ Z @ head.weights(Z, self.causal).T
        return total

    def derivative(self, Z: Floats, D: Floats) -> Floats:
        return np.sum([head.derivative(Z, D, self.causal) for head in self.heads], axis=0)

    def jacobian(self, Z: Floats) -> Floats:
        """[row c, token j, row b, token k]."""
        d, M = Z.shape
        J = np.zeros((d, M, d, M))
        for b in range(d):
            for k in range(M):
                D = np.zeros((d, M))
                D[b, k] = 1
                J[:, :, b, k] = self.derivative(Z, D)
        return J

    def mlp(self, Z: Floats) -> Floats:
        return Z + self.W_2 @ np.maximum(self.W_1 @ Z + self.b_1[:, None], 0) + self.b_2[:, None]

    def __call__(self, Z: Floats) -> Floats:
        return self.mlp(Z + self.attention(Z))


def operator_norm(J: Floats, norm_name: str, first: int) -> float:
    """A norm that is reached: of the rows j >= first; for `max` by ascent from some starts, so maybe too small."""
    d, M = J.shape[2:]
    if norm_name == "frobenius":
        return norm(J[:, first:].reshape(-1, d * M))
    best = 0.0
    for j in range(first, J.shape[1]):
        blocks = J[:, j].transpose(2, 0, 1)  # k, c, b
        for u in np.linalg.svd(blocks.transpose(1, 0, 2).reshape(d, -1))[0].T:
            for _ in range(10):
                pulled = np.einsum("kcb,c->kb", blocks, u)
                lengths = np.linalg.norm(pulled, axis=1)
                best = max(best, float(lengths.sum()))
                moved = np.einsum("kcb,kb->c", blocks, pulled / np.maximum(lengths, 1e-300)[:, None])
                if not moved.any():
                    break
                u = moved / np.linalg.norm(moved)
    return best


@dataclass
class Stack:
    layers: list[Layer]
    norm: str
    m_p: int
    m: int
    R_P: float
    R_X: float

    @classmethod
    def read(cls, stack: Json) -> Stack:
        radii = (float(array(stack[name])) for name in ("prompt_radius", "input_radius"))
        layers = [Layer.read(layer) for layer in stack["layers"]]
        return cls(layers, stack["norm"], number(stack["prompt_length"]), number(stack["input_length"]), *radii)

    def embedded(self, Z: Floats) -> Floats:
        E = self.layers[0].E
        return Z if E is None else Z + E

    def __call__(self, Z: Floats) -> Floats:
        Z = self.embedded(Z)
        for layer in self.layers:
            Z = layer(Z)
        return Z

    def random(self, rng: np.random.Generator, edge: float = 0.5) -> Floats:
        """A point of the region; tokens are on its edge with this probability."""
        d, M = self.layers[0].d, self.m_p + self.m
        Z = rng.standard_normal((d, M))
        Z /= np.linalg.norm(Z, axis=0)
        lengths = np.where(rng.random(M) < edge, 1, rng.random(M))
        return Z * lengths * np.where(np.arange(M) < self.m_p, self.R_P, self.R_X)

    def holds(self, Z: Floats) -> bool:
        lengths = np.linalg.norm(Z, axis=0)
        radii = np.where(np.arange(len(lengths)) < self.m_p, self.R_P, self.R_X)
        return bool((lengths <= radii * (1 + SLACK)).all())

    def constants(self, kind: str) -> list[tuple[float, float]]:
        """a and b of each layer: the formulas of the format, with true norms and nothing rounded."""
        R_P, R_X = self.R_P, self.R_X
        if self.layers[0].E is not None:
            lengths = np.linalg.norm(self.layers[0].E, axis=0)
            R_P += max(lengths[: self.m_p], default=0.0)
            R_X += max(lengths[self.m_p :])
        result = []
        for layer in self.layers:
            R = max(R_P, R_X) if self.m_p else R_X
            slopes = [self.slope(head, R_P, R_X, kind, layer.causal) for head in layer.heads]
            a, gain = (
                min(
                    sum(norm(head.V) * s for head, s in zip(layer.heads, numbers, strict=True)),
                    norm(np.hstack([head.W_o for head in layer.heads]))
                    * np.sqrt(sum((norm(head.W_v) * s) ** 2 for head, s in zip(layer.heads, numbers, strict=True))),
                )
                for numbers in (slopes, [1.0] * len(slopes))
            )
            b = norm(layer.W_1) * norm(layer.W_2)
            shift = float(np.linalg.norm(layer.W_2 @ np.maximum(layer.b_1, 0) + layer.b_2))
            result.append((float(a), b))
            R_P, R_X = (
                (1 + b) * (R_P + gain * (R_P if layer.causal else R)) + shift,
                (1 + b) * (R_X + gain * R) + shift,
            )
        return result

    def slope(self, head: Head, R_P: float, R_X: float, kind: str, causal: bool) -> float:
        m_p, m = self.m_p, self.m
        M, R = m_p + m, max(R_P, R_X) if m_p else R_X
        alpha, c = norm(head.A), float(np.linalg.norm(head.b))
        q = alpha * (R if kind == "joint" else R_X) + c
        if self.norm == "max":
            return 1 + alpha * R**2 + R * q
        D = np.sqrt(m_p * R_P**2 + m * R_X**2)
        return min(
            np.sqrt(M if kind == "joint" else m) * (1 + R * q) + alpha * R**2,
            (2 if causal else 1) + 1.5 * alpha * D**2 + np.sqrt(M) * D * c,
        )


def sampled_slope(stack: Stack, kind: str, rng: np.random.Generator, points: int) -> float:
    """The largest norm of the derivative of the attention of the only layer that is found."""
    (layer,) = stack.layers
    first = 0 if kind == "joint" else stack.m_p
    best = 0.0
    for _ in range(points):
        J = layer.jacobian(stack.embedded(stack.random(rng)))
        best = max(best, operator_norm(J[:, :, :, first:], stack.norm, first))
    return best


# --- what a certificate says --------------------------------------------------------------------------------------


def products(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    plus, minus = 1.0, 1.0
    for a, b in pairs:
        plus *= (1 + a) * (1 + b)
        minus *= (1 - a) * (1 - b)
    return plus, minus


def holds(value: Json, rng: np.random.Generator | None = None) -> bool:
    """What the kernel may accept: the stated inequalities, with true norms, and what random points say."""
    rng = rng or np.random.default_rng(0)
    return READINGS[value["claim"], value["relation"]](value["instance"], value["witness"], rng)


def bound_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    stack, kind, bound = Stack.read(instance["stack"]), instance["kind"], float(array(instance["bound"]))
    ((a, _),) = stack.constants(kind)
    return a <= bound * (1 + SLACK) and sampled_slope(stack, kind, rng, 20) <= bound * (1 + SLACK)


def contracts(pairs: list[tuple[float, float]]) -> bool:
    return all(a < 1 and b < 1 for a, b in pairs)


def injective_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    stack = Stack.read(instance["stack"])
    pairs = stack.constants("joint")
    least = products(pairs)[1]
    for _ in range(20):
        Z, W = stack.random(rng), stack.random(rng)
        W = Z + (W - Z) * rng.choice([1, 1e-3])
        if size_of(stack(Z) - stack(W), stack.norm) < least * size_of(Z - W, stack.norm) * (1 - 1e-6) - 1e-12:
            return False
    return contracts(pairs)


def kept_holds(instance: Json, witness: Json, rng: np.random.Generator, layer_by_layer: bool) -> bool:
    stack, factor, floor = Stack.read(instance["stack"]), *(float(array(instance[n])) for n in ("factor", "floor"))
    pairs = stack.constants("input" if layer_by_layer else "joint")
    plus, minus = products(pairs)
    if layer_by_layer:
        if not contracts(pairs) or factor > minus * (1 + SLACK):
            return False
        if len(stack.layers) > 1 and not stack.layers[0].causal:
            return False
    elif plus + factor > 2 + SLACK:
        return False
    inputs: list[Floats] = []
    d, m_p = stack.layers[0].d, stack.m_p
    if instance["inputs"] is not None:
        inputs = [array(X, d) for X in instance["inputs"]]
        if not all(stack.holds(np.hstack([np.zeros((d, m_p)), X])) for X in inputs):
            return False
    elif floor != 0:
        return False
    for k in range(20):
        Z, W = stack.random(rng), stack.random(rng)
        W[:, :m_p] = Z[:, :m_p]
        if k < 10 and inputs:
            Z[:, m_p:], W[:, m_p:] = inputs
            if factor * size_of(Z - W, stack.norm) < 2 * floor * (1 - SLACK):
                return False
        apart = size_of((stack(Z) - stack(W))[:, m_p:], stack.norm)
        if apart < factor * size_of(Z - W, stack.norm) * (1 - 1e-6):
            return False
    return factor > 0 and floor >= 0


def same_output_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    stack = Stack.read(instance["stack"])
    d, m_p = stack.layers[0].d, stack.m_p
    P = array(instance["P"], d)
    inputs = [array(X, d) for X in instance["inputs"]]
    whole = [np.hstack([P, X]) for X in inputs]
    outputs = [stack(Z)[:, m_p:] for Z in whole]
    scale = 1 + max(np.abs(Z).max() for Z in whole)
    uniform = not any(head.W_q.any() or head.b_q.any() for layer in stack.layers for head in layer.heads)
    different = all(np.abs(X - Y).max() > 0 for k, X in enumerate(inputs) for Y in inputs[:k])
    pairs = stack.constants("joint")
    return (
        len(inputs) > 1
        and stack.norm == "max"
        and uniform
        and different
        and all(stack.holds(Z) for Z in whole)
        and all(np.abs(Y - outputs[0]).max() < 1e-9 * scale for Y in outputs)
        and contracts(pairs)
        and products(pairs)[0] <= float(array(instance["product"])) * (1 + SLACK)
    )


def subspace_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    layers, m_p, R = (
        [Layer.read(l) for l in instance["layers"]],
        number(instance["prompt_length"]),
        float(array(instance["radius"])),
    )
    stack = Stack(layers, "max", m_p, 1, R, R)
    B = array(instance["basis"], layers[0].d)
    for _ in range(20):
        Z = B @ rng.standard_normal((B.shape[1], m_p + 1))
        out = stack(Z)[:, -1]
        if np.abs(out + Z[:, :m_p].sum(axis=1)).max() > 1e-9 * (1 + np.abs(Z).max() * m_p):
            return False
    plain = all(l.E is None and not l.causal and not l.W_1.size and not l.b_2.any() for l in layers)
    full = bool(np.linalg.matrix_rank(B) == B.shape[1] > 0)
    return R > 0 and m_p > 0 and plain and full and contracts(stack.constants("joint"))


def slope_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    stack, kind, bound = Stack.read(instance["stack"]), instance["kind"], float(array(instance["bound"]))
    (layer,), m_p = stack.layers, stack.m_p
    d, M = layer.d, m_p + stack.m
    Z = np.hstack([array(witness["P"], d), array(witness["X"], d)])
    D = array(witness["direction"], d)
    first = 0 if kind == "joint" else m_p
    if Z.shape != (d, M) or D.shape != (d, M) or not stack.holds(Z) or D[:, :first].any() or not D.any():
        return False
    reached = size_of(layer.derivative(stack.embedded(Z), D)[:, first:], stack.norm)
    return reached >= bound * size_of(D, stack.norm) * (1 - SLACK) and min(stack.R_P if m_p else 1, stack.R_X) > 0


def box_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    layer, bound, h = (
        Layer.read(instance["layer"]),
        float(array(instance["bound"])),
        float(array(instance["half_width"])),
    )
    P, X = (array(instance[name], layer.d) for name in ("P", "X"))
    first = 0 if instance["kind"] == "joint" else P.shape[1]
    Z = np.hstack([P, X])
    for k in range(30):
        off = rng.choice([-1, 1], Z.shape) if k % 2 else rng.uniform(-1, 1, Z.shape)
        J = layer.jacobian(Z + h * off)
        if operator_norm(J[:, :, :, first:], instance["norm"], first) > bound * (1 + SLACK):
            return False
    return h > 0 and layer.E is None


def inverse_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    stack, error = Stack.read(instance["stack"]), float(array(instance["error"]))
    Y, Z = (array(instance[name], stack.layers[0].d) for name in ("Y", "Z"))
    pairs = stack.constants("joint")
    off = size_of(stack(Z) - Y, stack.norm)
    return contracts(pairs) and stack.holds(Z) and off <= error * products(pairs)[1] * (1 + SLACK) + 1e-13


def exact(value: Json) -> Any:
    return mpmath.mpf(number(value["num"])) / number(value["den"])


def fold_layer(layer: Json, p: Any, x: Any) -> tuple[Any, Any]:
    """One layer of width 1 in many digits."""
    with mpmath.workdps(60):
        out = []
        for token in (p, x):
            total = token
            for head in layer["heads"]:
                size = len(head["b_q"]["num"])
                W_q, W_k, W_v, W_o, b_q = (
                    [mpmath.mpf(number(n)) / number(head[name]["den"]) for n in flat(head[name]["num"])]
                    for name in ("W_q", "W_k", "W_v", "W_o", "b_q")
                )
                q = sum(W_k[i] * (W_q[i] * token + b_q[i]) for i in range(size))
                V = sum(W_o[i] * W_v[i] for i in range(size))
                s = 1 / (1 + mpmath.exp(q * (x - p)))
                total += V * (s * p + (1 - s) * x)
            out.append(total)
        return out[0], out[1]


def flat(num: Json) -> list[Json]:
    return [n for row in num for n in (row if isinstance(row, list) else [row])]


def fold_holds(instance: Json, witness: Json, rng: np.random.Generator) -> bool:
    with mpmath.workdps(60):
        p, xs = exact(instance["p"]), [exact(x) for x in instance["x"]]
        outputs, product = [], mpmath.mpf(1)
        tokens = [(p, x) for x in xs]
        for layer, box in zip(instance["layers"], witness["boxes"], strict=True):
            center, h = [exact(c) for c in box["center"]], exact(box["half_width"])
            constant = exact(box["constant"])
            product *= 1 + constant
            if constant >= 1 or any(abs(t - c) > h for pair in tokens for t, c in zip(pair, center, strict=True)):
                return False
            read = Layer.read(layer)
            for _ in range(10):
                Z = np.array([[float(c + h * mpmath.mpf(rng.uniform(-1, 1))) for c in center]])
                if operator_norm(read.jacobian(Z), "max", 0) > float(constant) * (1 + SLACK):
                    return False
            tokens = [fold_layer(layer, *pair) for pair in tokens]
        outputs = [x for _, x in tokens]
        turns = (outputs[1] > max(outputs[0], outputs[2])) or (outputs[1] < min(outputs[0], outputs[2]))
        return bool(
            turns and xs[0] < xs[1] < xs[2] and product <= exact(instance["product"]) * (1 + mpmath.mpf(2) ** -90)
        )


READINGS: dict[tuple[str, str], Any] = {
    ("attention-lipschitz", "bound"): bound_holds,
    ("attention-lipschitz", "slope"): slope_holds,
    ("attention-lipschitz", "box"): box_holds,
    ("joint-injectivity", "injective"): injective_holds,
    ("joint-injectivity", "inverse"): inverse_holds,
    ("prompted-injectivity", "fold"): fold_holds,
    ("prompted-injectivity", "small-product"): lambda i, w, rng: kept_holds(i, w, rng, False),
    ("prompted-injectivity", "layer-by-layer"): lambda i, w, rng: kept_holds(i, w, rng, True),
    ("prompted-injectivity", "same-output"): same_output_holds,
    ("prompted-injectivity", "subspace"): subspace_holds,
}
