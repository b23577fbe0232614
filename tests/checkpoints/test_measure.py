"""What is proved of a layer, against exact linear algebra and against the constants of the same layer as a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoint_makers import random_weights
from flint import fmpq, fmpq_mat
from hypothesis import given
from hypothesis import strategies as st

from constructions.checkpoints.conditions import Condition, layer_conditions, stack_condition
from constructions.checkpoints.measure import LayerReport, measure
from constructions.checkpoints.weights import LayerWeights
from constructions.depth.constants import Region, Stack, length_above
from constructions.numbers.norm_enclosure import ZERO, NormEnclosure
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer, Transformer

ERROR = fmpq(1, 1000)
NAMES = ("W_q", "W_k", "W_v", "W_o", "b_q", "b_k", "b_v", "b_o", "W_1", "W_2", "W_gate", "b_1", "b_2", "b_gate")


def as_weights(made: dict[str, np.ndarray], index: int = 0) -> LayerWeights:
    values = {name: made[name].astype(np.float64) if name in made else None for name in NAMES}
    return LayerWeights(index, names={}, **values)  # type: ignore[arg-type]


def exact(W: np.ndarray, scale: fmpq = fmpq(1)) -> RationalMatrix:  # noqa: B008
    table = W.reshape(-1, 1) if W.ndim == 1 else W
    return RationalMatrix(fmpq_mat(*table.shape, [fmpq(*float(x).as_integer_ratio()) * scale for x in table.ravel()]))


def as_model(made: dict[str, np.ndarray], scale: fmpq) -> Transformer:
    """The same layer as a model of section 0; value and output biases moved into the MLP."""
    h, g = len(made["W_q"]), len(made["W_k"])
    heads, shift = [], exact(made["b_o"])
    for i in range(h):
        k = i // (h // g)
        W_o = exact(made["W_o"][i])
        heads.append(
            Head(
                exact(made["W_q"][i], scale),
                exact(made["W_k"][k]),
                exact(made["W_v"][k]),
                W_o,
                exact(made["b_q"][i], scale),
            )
        )
        shift = RationalMatrix((shift + W_o.times(exact(made["b_v"][k]))).mat)  # type: ignore[attr-defined]
    W_1, W_2 = exact(made["W_1"]), exact(made["W_2"])
    b_1 = RationalMatrix(exact(made["b_1"]).mat + W_1.times(shift).mat)
    b_2 = RationalMatrix(exact(made["b_2"]).mat + shift.mat)
    return Transformer((Layer(Attention(tuple(heads)), FeedForward(W_1, b_1, W_2, b_2)),))


def report(made: dict[str, np.ndarray], **options: Any) -> LayerReport:
    return measure(as_weights(made), options.pop("error", ERROR), **{"causal": False, "scaled": True, **options})


def around(found: NormEnclosure, value: float, error: fmpq = ERROR) -> None:
    assert found.relative_error <= error * (1 + fmpq(1, 2**50))
    assert float(found.lower) <= value * (1 + 1e-9)
    assert value * (1 - 1e-9) <= float(found.upper)


@given(st.integers(0, 10**6), st.sampled_from([(4, 1, 1), (8, 2, 2), (8, 2, 1), (9, 3, 3), (12, 4, 2)]), st.booleans())
def test_norms_of_every_head(seed: int, sizes: tuple[int, int, int], scaled: bool) -> None:
    d, h, kv = sizes
    made = random_weights(np.random.default_rng(seed), d, h, kv=kv)
    found = report(made, scaled=scaled)
    root = (d // h) ** -0.5 if scaled else 1.0

    def norm(W: np.ndarray) -> float:
        return float(np.linalg.norm(W.astype(np.float64), 2))

    for i, head in enumerate(found.heads):
        k = i // (h // kv)
        assert (head.head, head.group) == (i, k)
        W_q, W_k, W_v, W_o = (
            made[name][j].astype(float) for name, j in (("W_q", i), ("W_k", k), ("W_v", k), ("W_o", i))
        )
        around(head.W_q, norm(W_q) * root)
        around(head.W_k, norm(W_k))
        around(head.W_v, norm(W_v))
        around(head.W_o, norm(W_o))
        around(head.bilinear, norm(W_k.T @ W_q) * root)
        around(head.value, norm(W_o @ W_v))
        around(head.bias, norm(W_k.T @ made["b_q"][i][:, None].astype(float)) * root)
    around(found.output, norm(made["W_o"].transpose(1, 0, 2).reshape(d, -1)))
    assert found.W_1 is not None
    assert found.mlp is not None
    around(found.W_1, norm(made["W_1"]))
    around(found.mlp, norm(made["W_1"]) * norm(made["W_2"]), fmpq(21, 10000))


def test_the_scale_is_exact_where_the_root_is_rational() -> None:
    made = random_weights(np.random.default_rng(0), 8, 2)
    plain, scaled = (report(made, scaled=scaled) for scaled in (False, True))
    for one, two in zip(plain.heads, scaled.heads, strict=True):
        assert two.W_q == NormEnclosure(one.W_q.lower / 2, one.W_q.upper / 2)
        assert two.bilinear == NormEnclosure(one.bilinear.lower / 2, one.bilinear.upper / 2)
        assert two.W_k == one.W_k


@pytest.mark.parametrize("kv", [1, 2])
@pytest.mark.parametrize("R", [fmpq(0), fmpq(1, 3), fmpq(1), fmpq(10)])
def test_constants_are_those_of_the_same_layer_as_a_model(kv: int, R: fmpq) -> None:
    """s = 4, so the scale 1/2 is exact; and a key bias changes nothing, wherever it is."""
    made = random_weights(np.random.default_rng(4), 8, 2, kv=kv)
    found = report(made, error=fmpq(1, 2**20))
    stack = Stack.of(as_model(made, fmpq(1, 2)), Region(R, R, 1, 1), relative_error=fmpq(1, 2**24))
    ours, theirs = found.attention(R), stack.layers[0].joint
    assert ours.lower <= theirs
    assert ours.upper >= theirs * (1 - fmpq(1, 2**20))
    assert ours.upper <= ours.lower * (1 + fmpq(1, 2**17))
    without = {**made, "b_k": made["b_k"] * 0 + 7}
    assert report(without).attention(R) == report(made).attention(R)
    # the carried radius bounds biases by norms: it may be larger than the model's, never smaller
    assert found.after(R) >= stack.norms[0].after(Region(R, R, 1, 1)).radius * (1 - fmpq(1, 2**18))


def test_biases_of_values_shift_by_no_more_than_stated() -> None:
    made = random_weights(np.random.default_rng(5), 8, 4, kv=2)
    found = report(made)
    shift = made["b_o"].astype(float)
    for i in range(4):
        shift = shift + made["W_o"][i].astype(float) @ made["b_v"][i // 2].astype(float)
    assert float(found.shift) >= np.linalg.norm(shift)
    zero = made["W_2"].astype(float) @ np.maximum(made["b_1"].astype(float), 0) + made["b_2"].astype(float)
    assert float(found.at_zero) >= np.linalg.norm(zero)
    bare = {name: value for name, value in made.items() if not name.startswith("b_")}
    assert (report(bare).shift, report(bare).at_zero) == (0, 0)
    assert all(head.bias == ZERO for head in report(bare).heads)


def test_largest_radius() -> None:
    made = random_weights(np.random.default_rng(6), 8, 2)
    made["W_o"] *= np.float32(0.5)
    found = report(made)
    R = found.largest_radius()
    assert R is not None
    assert found.attention(R).upper < 1 <= found.attention(R * (1 + fmpq(1, 2**19))).upper
    made["W_o"] *= np.float32(100)
    assert report(made).largest_radius() is None
    made["W_o"] *= 0
    assert report(made).largest_radius() == fmpq(2) ** 64


def by_slug(conditions: list[Condition]) -> dict[str, Condition]:
    return {condition.slug: condition for condition in conditions}


def test_conditions_hold_and_fail_by_what_is_found() -> None:
    made = random_weights(np.random.default_rng(7), 8, 2)
    small = {name: value * np.float32(0.1) for name, value in made.items()}
    good = by_slug(layer_conditions(report(small), fmpq(1)))
    assert {condition.status for condition in good.values()} == {"holds"}
    assert good["attention-at-0"].detail.startswith("up to R ≤ ")
    large = {name: value * np.float32(30) for name, value in made.items()}
    bad = by_slug(layer_conditions(report(large), fmpq(1)))
    assert {slug for slug, condition in bad.items() if condition.status == "fails"} == {
        "mlp",
        "attention",
        "attention-at-0",
    }
    product = float(np.linalg.norm(large["W_1"], 2) * np.linalg.norm(large["W_2"], 2))
    assert bad["mlp"].found is not None
    assert 1 < product * 0.997 < float(bad["mlp"].found.lower) <= product * 1.000001


def test_neither_is_said_where_the_bounds_lie_on_two_sides() -> None:
    made = random_weights(np.random.default_rng(8), 8, 2)
    made["W_1"], made["W_2"] = np.eye(8) * (1 - 2.0**-14), np.eye(8)
    found = report(made)
    assert found.mlp is not None
    assert found.mlp.lower < 1 <= found.mlp.upper
    assert by_slug(layer_conditions(found, fmpq(1)))["mlp"].status == "undecided"


def test_deficits_and_whole_heads() -> None:
    made = random_weights(np.random.default_rng(9), 6, 2, kv=1)
    made["W_q"][1][2] = made["W_q"][1][0] * 2
    made["W_v"][0][:] = 0
    found = report(made)
    condition = by_slug(layer_conditions(found, fmpq(1)))["full-rank"]
    assert condition.status == "fails"
    assert condition.detail == "2 of 4 have it; W_v of head 0: 0 of 3; W_q of head 1: 2 of 3"
    assert found.heads[1].ranks["W_q"].relations[0]
    assert found.heads[0].value == ZERO
    one = report(random_weights(np.random.default_rng(9), 3, 1))
    assert by_slug(layer_conditions(one, fmpq(1)))["small-heads"].status == "fails"


def test_gated_and_missing_mlps() -> None:
    gated = report(random_weights(np.random.default_rng(10), 6, 2, gated=True))
    assert gated.mlp is None
    assert by_slug(layer_conditions(gated, fmpq(1)))["mlp"].status == "not covered"
    assert stack_condition([gated], fmpq(1)).status == "not covered"
    made = random_weights(np.random.default_rng(10), 6, 2)
    bare = report({name: value for name, value in made.items() if name[-1] not in "12"})
    assert bare.mlp == ZERO
    assert by_slug(layer_conditions(bare, fmpq(1)))["mlp"].detail == "no MLP"


def test_the_condition_on_all_layers_together() -> None:
    made = random_weights(np.random.default_rng(11), 8, 2)
    small = {name: value * np.float32(0.1) for name, value in made.items()}
    layer = report(small)
    one, two, many = (stack_condition([layer] * n, fmpq(1)) for n in (1, 2, 1000))
    assert (one.status, two.status, many.status) == ("holds", "holds", "fails")
    for condition in (one, two, many):
        assert condition.found is not None
        assert condition.found.lower <= condition.found.upper
    stack = Stack.of(as_model(small, fmpq(1, 2)), Region(fmpq(1), fmpq(1), 1, 1))
    assert one.found is not None
    assert one.found.lower <= stack.product() <= one.found.upper * (1 + fmpq(1, 2**18))


def test_lengths_of_biases() -> None:
    assert length_above([fmpq(3), fmpq(4)]) == 5
