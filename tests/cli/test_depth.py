"""``promptcert depth``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from flint import fmpq

from constructions.depth.collapse import collapse
from constructions.depth.constants import Region
from constructions.documents import write_json
from constructions.files import model_json
from constructions.transformer import Attention, FeedForward, Layer, Transformer
from verify.commands.depth import decimal_above, decimal_below
from verify.instances import contractive_stack, random_layer


def saved(tmp_path: Path, model: Transformer) -> Path:
    write_json(tmp_path / "model.json", model_json(model))
    return tmp_path / "model.json"


RADII = ("--input-radius", "1", "--prompt-radius", "1")


def test_the_collapse_is_invertible_and_refuted(run_json, run, tmp_path: Path) -> None:
    path = saved(tmp_path, collapse())
    code, found = run_json("depth", path, *RADII, "--out", tmp_path / "out")
    assert code == 1
    assert found["claims"] == {
        "attention-lipschitz": "proved",
        "joint-injectivity": "proved",
        "prompted-injectivity": "refuted",
    }
    assert len(found["certificates"]) == 6
    text = run("depth", path, *RADII, "--out", tmp_path / "out").out
    assert "joint-injectivity: proved" in text
    assert "prompted-injectivity: refuted" in text


@pytest.mark.parametrize("norm", ["max", "frobenius"])
def test_small_products_are_proved(run_json, tmp_path: Path, norm: str) -> None:
    stack = contractive_stack(
        random.Random(norm), 2, Region(fmpq(1), fmpq(1), 2, 1), norm, attention=fmpq(1, 8), mlp=fmpq(1, 8)
    )
    path = saved(tmp_path, stack.model)
    code, found = run_json("depth", path, *RADII, "--norm", norm, "--prompt-length", "2", "--out", tmp_path)
    assert (code, found["argument"]) == (0, "small-product")
    assert 0 < float(found["factor"]) < 1 < float(found["product"]) < 2


def test_conditions_that_fail_are_undecided(run_json, run, tmp_path: Path) -> None:
    path = saved(tmp_path, Transformer((random_layer(random.Random(1), 2),)))
    code, found = run_json("depth", path, *RADII, "--out", tmp_path)
    assert code == 2
    assert found["fails"]["layer"] == 0
    assert found["fails"]["part"] == "attention"
    assert (
        "joint-injectivity: undecided (layer 0: the constant of its attention is"
        in run("depth", path, *RADII, "--out", tmp_path).out
    )


def test_without_a_prompt_and_with_several_tokens(run_json, tmp_path: Path) -> None:
    path = saved(tmp_path, collapse())
    code, found = run_json("depth", path, *RADII, "--tokens", "3", "--prompt-length", "0", "--out", tmp_path)
    assert (code, found["tokens"], found["prompt_length"]) == (2, 3, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--input-radius", "-1", "--prompt-radius", "1"), "--input-radius: expected at least 0"),
        (("--input-radius", "x", "--prompt-radius", "1"), "--input-radius: expected a rational number"),
        (
            ("--input-radius", "1e99999", "--prompt-radius", "1"),
            "--input-radius: expected a rational number of moderate",
        ),
    ],
)
def test_bad_radii(run, tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = run("depth", saved(tmp_path, collapse()), *options)
    assert done.code == 4
    assert words in done.err


def test_hardmax_is_undecided(run, tmp_path: Path) -> None:
    heads = random_layer(random.Random(1), 2).attention.heads
    path = saved(tmp_path, Transformer((Layer(Attention(heads, "hardmax"), FeedForward.none(2)),)))
    done = run("depth", path, *RADII)
    assert done.code == 2
    assert "hardmax" in done.err


@pytest.mark.parametrize(
    ("x", "up", "down"),
    [
        (fmpq(2, 3), "0.666667", "0.666666"),
        (fmpq(5), "5", "5"),
        (fmpq(123456789), "123457000", "123456000"),
        (fmpq(0), "0", "0"),
        (fmpq(10) ** 40 + 1, "100001e35", "1e40"),
        (fmpq(1, 8), "0.125", "0.125"),
    ],
)
def test_decimals_are_rounded_outwards(x: fmpq, up: str, down: str) -> None:
    assert (decimal_above(x), decimal_below(x)) == (up, down)
