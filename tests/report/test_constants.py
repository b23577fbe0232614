"""Constants stated against certified: what is printed as certified is what the certificate proves, rounded to the safe
side, and what is printed as stated follows from the form that it names."""

from __future__ import annotations

import re
from functools import cache
from math import sqrt
from typing import Any

import numpy as np
import pytest
from flint import fmpq

from constructions.numbers.rational import RationalMatrix, rational
from verify.claims import Constant, Settings, unmemorizable_pair
from verify.claims.claim import CaseResult
from verify.claims.registry import REGISTRY
from verify.report.instances import matrix, scalar, single_layer_data

Json = dict[str, Any]


@cache
def case(slug: str, name: str) -> CaseResult:
    return next(each for each in REGISTRY[slug].cases(Settings()) if each.name == name).check()


def only(result: CaseResult) -> tuple[Constant, Json]:
    """The one constant of a case and the instance of its certificate."""
    (constant,) = result.constants
    assert result.certificate is not None
    return constant, result.certificate.document()["instance"]


def after(words: str, text: str) -> fmpq:
    """The decimal number that follows these words."""
    found = re.search(re.escape(words) + r" ?(\d+(?:\.\d+)?)", text)
    assert found is not None, text
    return rational(found[1])


def close(shown: fmpq, exact: fmpq) -> bool:
    return abs(shown - exact) <= exact / 500


QUANTISATION = [each.name for each in REGISTRY["quantisation"].cases(Settings())]


@pytest.mark.parametrize("name", QUANTISATION)
def test_the_error_of_a_table(name: str) -> None:
    constant, instance = only(case("quantisation", name))
    bound, shown = scalar(instance["bound"]), after("at most", constant.certified)
    assert shown >= bound
    assert close(shown, bound)
    d, m, k = instance["d"], instance["m"], instance["k"]
    L, p = float(scalar(instance["L"])), float(scalar(instance["p"]))
    stated = float(after("≈", constant.stated))
    assert stated == pytest.approx((L + 1) * (d * m) ** (1 / p) / k, rel=1e-3)
    assert float(after("", constant.slack)) == pytest.approx(stated / float(bound), rel=1e-2)


@pytest.mark.parametrize("heads", [1, 2])
def test_constants_of_attention(heads: int) -> None:
    constant, instance = only(case("attention-lipschitz", f"bound-d{heads}-heads{heads}-frobenius"))
    _, slope = only_slope(heads)
    bound = scalar(instance["bound"])
    shown = after("at most", constant.certified)
    assert shown >= bound * (1 - fmpq(1, 2**60))
    assert close(shown, bound)
    assert after("at least", constant.certified) <= scalar(slope["bound"])
    layer = instance["stack"]["layers"][0]
    stated = 0.0
    for head in layer["heads"]:
        A = matrix(head["W_k"]).T.times(matrix(head["W_q"]))
        V = matrix(head["W_o"]).times(matrix(head["W_v"]))
        stated += norm(V) * (1 + 8 * sqrt(3) * (0.25 + 1 + 1) * norm(A))  # one prompt token of 1/2, two tokens of 1
    assert float(after("≈", constant.stated)) == pytest.approx(stated, rel=1e-3)


def only_slope(heads: int) -> tuple[CaseResult, Json]:
    result = case("attention-lipschitz", f"slope-d{heads}-heads{heads}-frobenius")
    assert result.constants == ()
    assert result.certificate is not None
    return result, result.certificate.document()["instance"]


def norm(A: Any) -> float:
    return float(np.linalg.norm([[float(x) for x in row] for row in A.rows()], 2))


def test_layers_of_the_collapse() -> None:
    constant, instance = only(case("prompted-injectivity", "collapse"))
    shown = [rational(x) for x in re.findall(r"\d\.\d+", constant.certified)]
    values = [matrix(layer["heads"][0]["W_v"]) for layer in instance["layers"]]
    squares = [sum((x * x for x in V.column(0)), fmpq(0)) for V in values]
    assert [x * x >= square for x, square in zip(shown, squares, strict=True)] == [True] * 4
    assert max(shown) < 1
    assert shown[0] == fmpq(3, 4)


def test_products_near_the_best_number() -> None:
    constant, instance = only(case("prompted-injectivity", "two-layers-with-mlp"))
    shown, product = after("at most", constant.certified), scalar(instance["product"])
    assert product * (1 - fmpq(1, 2**60)) <= shown <= product + fmpq(1, 10**7)
    assert after("at most", constant.slack) >= product - 2 > 0


@pytest.fixture
def _short_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    original = unmemorizable_pair.adversary
    monkeypatch.setattr(
        unmemorizable_pair,
        "adversary",
        lambda model, data, **_: original(model, data, lengths=[1], restarts=1, max_iterations=2),
    )


@pytest.mark.usefixtures("_short_attacks")
def test_the_width_of_a_pair() -> None:
    """2 + the rank of the shifted preimages, found again from the certificate."""
    result = case("unmemorizable-pair", "cone-d2-mlp2")
    constant, instance = only(result)
    assert result.certificate is not None
    _, data = single_layer_data(instance)
    proofs = result.certificate.document()["witness"]["preimages"]
    shifted = []
    for proof, example in zip(proofs, data.examples, strict=True):
        z = matrix({"den": proof["z"]["den"], "num": [proof["z"]["num"]]}).rows()[0]
        shifted.append([a - b for a, b in zip(z, example.X.column(example.X.shape[1] - 1), strict=True)])
    rank = RationalMatrix.of(shifted).rank()
    assert constant.stated.endswith(f"= {2 + rank}")
    assert constant.certified == "d = 2"
    assert constant.slack == f"{rank} less"
    assert case("unmemorizable-pair", "cone-d3-mlp4").constants == ()  # nothing is gained there


def test_counts() -> None:
    """Of the cases of the shift, of the universal network and of Example 1."""
    constant, _ = only(case("contextual-mapping", "shift-too-small"))
    assert constant.stated == "δ^{−(n+1)d} = 2048"
    constant, instance = only(case("contextual-mapping", "d1-m2-k2"))
    assert (constant.stated, constant.certified) == ("n δ^{−(n+1)d−1} = 40960", str(instance["G"]))
    constant, instance = only(case("universality-softmax", "for-all-d1-m1-eps1over10-p1"))
    assert constant.certified == str(instance["k"]) == "8"
    assert constant.stated.startswith("40, by ")  # 2 δ ≤ 1/20
    constant, _ = only(case("mlp-injectivity", "paper-example-1-positive"))
    assert (constant.stated, constant.certified) == ("2", "exactly 1")
