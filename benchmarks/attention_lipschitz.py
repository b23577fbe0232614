"""Constants of attention against the slopes that are found: 10,000 random layers, then climbed ones, then boxes.

    python benchmarks/attention_lipschitz.py [--count N]

Every slope has to stay below its constant; the table shows how much of the constant is reached.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict

import numpy as np
from flint import fmpq
from rich.console import Console
from rich.progress import track
from rich.table import Table

from constructions.depth.constants import KINDS, NORMS, LayerNorms, Region
from constructions.depth.jacobian import FloatAttention, columns_that_count
from constructions.depth.slack import box_cover, climbed, steep
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify.instances import random_full_rank, random_matrix

SCREEN = Console(stderr=True)


def drawn(rng: random.Random) -> tuple[Layer, Region]:
    """d and s up to 3, up to 3 heads, biases, masks, up to 3 prompt and 3 input tokens."""
    d, s = rng.randint(1, 3), rng.randint(1, 3)

    def matrix(rows: int, columns: int) -> RationalMatrix:
        return random_matrix(rng, rows, columns, size=5, denominator=rng.choice([2, 4, 8, 16]))

    heads = tuple(
        Head(matrix(s, d), matrix(s, d), matrix(s, d), matrix(d, s), matrix(s, 1)) for _ in range(rng.randint(1, 3))
    )
    region = Region(fmpq(rng.randint(1, 4), 4), fmpq(rng.randint(1, 4), 4), rng.randint(0, 3), rng.randint(1, 3))
    return Layer(Attention(heads, causal=rng.random() < 0.3), FeedForward.none(d)), region


def one_head(rng: random.Random, d: int) -> Layer:
    """The layers of the table of slack: one head of full rank."""
    weights = [random_full_rank(rng, d, d).scaled(fmpq(1, 2)) for _ in range(3)]
    return Layer(Attention((Head(*weights),)), FeedForward.none(d))


def random_slopes(count: int) -> None:
    rng, floats = random.Random(0), np.random.default_rng(0)
    reached: dict[tuple[str, str], float] = defaultdict(float)
    above = 0
    for _ in track(range(count), "random layers", console=SCREEN):
        layer, region = drawn(rng)
        norms, attention = LayerNorms.of(layer), FloatAttention(layer.attention.heads, layer.attention.causal)
        radii = np.array(
            [float(region.prompt_radius)] * region.prompt_length + [float(region.input_radius)] * region.input_length
        )
        for _ in range(4):
            Z = floats.normal(size=(layer.width, region.length))
            Z = Z / np.linalg.norm(Z, axis=0) * radii * (floats.random(region.length) < 0.8)
            J = attention.blocks(Z)
            for norm in NORMS:
                for kind in KINDS:
                    bound = float(norms.attention(region, norm, kind))
                    value, _ = climbed(J, columns_that_count(region, kind), norm, floats)
                    above += value > bound * (1 + 1e-9)
                    if bound:
                        reached[norm, kind] = max(reached[norm, kind], value / bound)
    print(
        f"{count} random layers, 4 points each: {above} slopes above a constant; largest part of the constant reached:"
    )
    print("  " + ", ".join(f"{norm}/{kind} {value:.3f}" for (norm, kind), value in sorted(reached.items())))


def slack() -> None:
    table = Table(title="one head, d×d, ‖A‖ and ‖V‖ of order 1, one prompt and two input tokens", title_justify="left")
    for name in ("d", "radius", "norm", "constant", "form of the literature", "slope found", "reached"):
        table.add_column(name, justify="right")
    for d in (1, 2, 4, 8):
        for radius in (fmpq(1, 2), fmpq(1)):
            layer = one_head(random.Random(f"slack/{d}"), d)
            region, norms = Region(radius, radius, 1, 2), LayerNorms.of(layer)
            for norm in NORMS:
                bound = float(norms.attention(region, norm, "joint"))
                found = float(steep(layer, region, norm, "joint", starts=6, steps=600).bound)
                A, V = float(norms.heads[0].bilinear.bound), float(norms.heads[0].value.bound)
                old = V * (1 + 8 * np.sqrt(3) * 3 * float(radius) ** 2 * A) if norm == "frobenius" else None
                table.add_row(
                    str(d),
                    str(radius),
                    norm,
                    f"{bound:.4g}",
                    "" if old is None else f"{old:.4g}",
                    f"{found:.4g}",
                    f"{found / bound:.2f}",
                )
    Console(width=110).print(table)


def boxes() -> None:
    table = Table(title="boxes of half width 1/256: from both sides", title_justify="left")
    for name in ("d", "norm", "at most (certified)", "leaves", "at least (found inside)", "ratio"):
        table.add_column(name, justify="right")
    floats = np.random.default_rng(0)
    for d in (1, 2):
        layer = one_head(random.Random(f"slack/{d}"), d)
        Z = RationalMatrix.of([[fmpq(j + c + 1, 4) for j in range(2)] for c in range(d)])
        center = np.array([[float(x) for x in row] for row in Z.rows()])
        attention = FloatAttention(layer.attention.heads, causal=False)
        for norm in NORMS:
            cover = box_cover(layer, Z, fmpq(1, 256), norm, "joint", 1, max_leaves=256)
            inside = max(
                climbed(attention.blocks(center + (floats.random(Z.shape) - 0.5) / 128), range(2), norm, floats)[0]
                for _ in range(500)
            )
            table.add_row(
                str(d),
                norm,
                f"{float(cover.bound):.5g}",
                str(cover.leaves),
                f"{inside:.5g}",
                f"{float(cover.bound) / inside:.3f}",
            )
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="random layers (default: 10000)")
    args = parser.parse_args()
    random_slopes(args.count)
    slack()
    boxes()


if __name__ == "__main__":
    main()
