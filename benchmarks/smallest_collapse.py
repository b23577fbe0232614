"""How small can the product Π (1 + c_l) of a collapse be? Each find is confirmed by an exact or enclosed proof.

    python benchmarks/smallest_collapse.py

Uniform attention without MLP is a path in the plane: δ = y_0, y_1, …, y_L = −r δ with r = m_p/m and
c_l = |y_{l+1} − y_l| / |y_l| < 1 (docs/theory/depth.md). The search is in floats; the path found is rounded to
rationals, made into layers, and two inputs are run through them exactly.
"""

from __future__ import annotations

import numpy as np
from flint import fmpq
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from constructions.depth.fold import fold
from constructions.depth.same_output import two_layers, uniform_path

CAP = 0.999


def start(depth: int, r: float) -> np.ndarray:
    """Two steps of constant 1 in the best direction, then straight on: near 4(1 + √r) at depth 3 where r < 1."""
    size = min(r, 4.0)
    turn = np.exp(1j * np.arccos(size / 2 - 1))
    points = [1 + turn, size * turn]
    points += [points[1] + (-r - points[1]) * (i + 1) / (depth - 2) for i in range(depth - 3)]
    return np.array([[z.real, z.imag] for z in points[: depth - 1]]).ravel()


def searched(depth: int, r: float, starts: int = 6) -> list[tuple[float, float]] | None:
    """The points between δ and −rδ of a path with a small product, or None where no path with all c < 1 is found."""
    rng, best, path = np.random.default_rng(depth), np.inf, None

    def steps(t: np.ndarray) -> np.ndarray:
        points = np.vstack([[1.0, 0.0], t.reshape(-1, 2), [-r, 0.0]])
        return np.linalg.norm(np.diff(points, axis=0), axis=1) / (np.linalg.norm(points[:-1], axis=1) + 1e-12)

    def loss(t: np.ndarray, weight: float) -> float:
        c = steps(t)
        return float(np.log1p(c).sum() + weight * np.maximum(0, c - CAP).sum())

    for k in range(starts):
        t = rng.normal(size=2 * (depth - 1)) if k else start(depth, r)
        for weight in (1.0, 10.0, 100.0):
            t = minimize(
                loss,
                t,
                args=(weight,),
                method="Nelder-Mead",
                options={"maxiter": 6000, "maxfev": 6000, "xatol": 1e-10, "fatol": 1e-12},
            ).x
        c = steps(t)
        if c.max() < 1 and np.prod(1 + c) < best:
            best, path = float(np.prod(1 + c)), t
    return None if path is None else [(float(x), float(y)) for x, y in path.reshape(-1, 2)]


def main() -> None:
    table = Table(title="smallest products found, all constants below 1", title_justify="left")
    for name in ("what", "m_p/m", "layers", "product", "proof", "4(1 + √r)"):
        table.add_column(name, justify="right")
    for epsilon in (16, 20, 30):
        table.add_row(
            "attention alone, norm max",
            "1",
            "2",
            f"{float(fold(fmpq(1, 2**epsilon)).product):.9f}",
            "enclosed fold",
            "",
        )
    frobenius = fold(fmpq(1, 2**21), w=10, norm="frobenius")
    table.add_row(
        "attention alone, norm frobenius", "1", "2", f"{float(frobenius.product):.6f}", "enclosed, our balls", ""
    )
    for kappa in (10, 13, 16):
        found = two_layers(fmpq(1, 2**kappa))
        table.add_row(
            "uniform attention with MLP",
            "1",
            "2",
            f"{float(found.stack.product()):.6f}",
            f"exact, {len(found.inputs)} inputs",
            "",
        )
    for m_p, m in ((1, 4), (1, 2), (1, 1), (2, 1), (4, 1)):
        r = m_p / m
        for depth in (2, 3, 4, 5):
            path = searched(depth, r)
            if path is None:
                table.add_row(
                    "uniform, no MLP, either norm",
                    f"{m_p}/{m}",
                    str(depth),
                    "none found",
                    "none exists" if depth == 2 else "",
                    "",
                )
                continue
            exact = uniform_path(
                [(fmpq(round(x * 2**20), 2**20), fmpq(round(y * 2**20), 2**20)) for x, y in path], m_p, m
            )
            table.add_row(
                "uniform, no MLP, either norm",
                f"{m_p}/{m}",
                str(depth),
                f"{float(exact.stack.product()):.4f}",
                "exact",
                f"{4 * (1 + np.sqrt(r)):.4f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
