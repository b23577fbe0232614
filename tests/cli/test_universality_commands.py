"""``promptcert constants`` and ``promptcert universality``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from flint import fmpq

from constructions.universality.for_all import Size, constants
from verify.commands.constants_plot import layers_log10, series

SIZES = ("--lipschitz", "1.5", "--p", "2")
SINE = "(1+sin(3*x))/2"


def test_constants(run: Callable[..., Any], run_json: Callable[..., Any]) -> None:
    arguments = ("constants", "--d", 1, "--m", 1, "--lipschitz", 1, "--p", 2, "--eps", "0.01")
    done = run(*arguments)
    assert done.code == 0
    assert "10^151.810" in done.out
    code, document = run_json(*arguments)
    assert code == 0
    assert (document["ours"]["k"]["exact"], document["textbook"]["k"]["exact"]) == ("79", "400")


def test_constants_of_any_size_are_told_in_logarithms(run_json: Callable[..., Any]) -> None:
    arguments = ("constants", "--d", 3, "--m", 3, "--lipschitz", 1, "--p", 2, "--eps", "1/10")
    code, document = run_json(*arguments)
    assert code == 0
    assert document["ours"]["feed_forward_layers"]["exact"] is None
    assert document["ours"]["feed_forward_layers"]["log10"] > 1e6


PLOTTED = ("constants", "--d", 1, "--m", 1, "--lipschitz", 1, "--p", 2, "--eps", "0.05")
PANELS = ("tokens", "layers", "bits")


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_constants_are_drawn(
    run: Callable[..., Any], run_json: Callable[..., Any], tmp_path: Path, ending: str
) -> None:
    path, again = tmp_path / f"costs.{ending}", tmp_path / f"again.{ending}"
    plain = run(*PLOTTED)
    done = run(*PLOTTED, "--plot", path)
    assert (done.code, done.out) == (0, f"{plain.out}plot: {path}\n")
    code, document = run_json(*PLOTTED, "--plot", again)
    assert (code, document["plot"]) == (0, str(again))
    assert run_json(*PLOTTED)[1]["plot"] is None
    assert path.read_bytes() == again.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([path, again])
    if ending == "png":
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_both_choices_are_in_the_drawing(run: Callable[..., Any], tmp_path: Path) -> None:
    """Each of the six lines has a marker for each of 17 accuracies; the textbook's line is above ours."""
    path = tmp_path / "costs.svg"
    assert run(*PLOTTED, "--plot", path).code == 0
    tree = ElementTree.parse(path)
    space = "{http://www.w3.org/2000/svg}"
    lines = {group.get("id"): group for group in tree.iter(f"{space}g")}
    for panel in PANELS:
        heights = {}
        for name in ("ours", "textbook"):
            markers = list(lines[f"{panel}-{name}"].iter(f"{space}use"))
            assert len(markers) == 17
            heights[name] = [float(marker.get("y", "nan")) for marker in markers]
        assert all(y < x for x, y in zip(heights["ours"], heights["textbook"], strict=True))  # y runs downwards


def test_what_is_drawn_are_the_constants() -> None:
    found = series(1, 2, fmpq(1), fmpq(2), fmpq(1))
    for name, points in found.items():
        for epsilon, value in points:
            again = constants(1, 2, fmpq(1), fmpq(2), epsilon, textbook=name == "textbook")
            assert value == again
            assert again.attention_layers.exact is not None
            if again.feed_forward_layers.exact is not None:
                layers = again.attention_layers.exact + again.feed_forward_layers.exact
                assert layers_log10(value) == pytest.approx(Size.of(layers).log10)
    assert max(epsilon for epsilon, _ in found["ours"]) == 10


def test_accuracies_that_cannot_be_counted_are_left_out() -> None:
    found = series(6, 6, fmpq(1), fmpq(2), fmpq(1, 10**7))
    assert 0 < len(found["textbook"]) < len(found["ours"]) <= 17


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (("--plot", "costs.pdf"), "expected a file name that ends in .svg or .png, found 'costs.pdf'"),
        (("--plot", "missing/costs.svg"), "missing/costs.svg: cannot be written"),
        (("--plot", "costs.svg", "--eps", "1e999"), "at most 10^9"),
        (("--plot", "costs.svg", "--lipschitz", "1e10"), "at most 10^9"),
    ],
)
def test_drawings_that_are_refused(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[str, ...], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert why in refused(4, *PLOTTED, *changed)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "arguments", "why"),
    [
        (4, ("--d", 1, "--m", 1, "--lipschitz", "x", "--p", 2, "--eps", 1), "--lipschitz: expected a rational"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", "1/2", "--eps", 1), "p: expected a rational of at least 1"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", "123456789123/7", "--eps", 1), "at most 10^4, found 123456"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", "10001/10000", "--eps", 1), "a denominator of at most 10^4"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", "1e999", "--eps", 1), "at most 10^4, found 1000000000"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", 1, "--eps", 0), "eps: expected an accuracy above 0"),
        (4, ("--d", 1, "--m", 1, "--lipschitz", 1, "--p", 1, "--eps", "1e-999999"), "of moderate size"),
        (3, ("--d", 50, "--m", 50, "--lipschitz", 1, "--p", 1, "--eps", "1/10"), "more tokens than can be counted"),
    ],
)
def test_constants_refused(refused: Callable[..., str], code: int, arguments: tuple[Any, ...], why: str) -> None:
    assert why in refused(code, "constants", *arguments)


def test_universality(run: Callable[..., Any], run_json: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("universality", "--target", SINE, *SIZES, "--eps", "0.05", "--out", tmp_path, "--at", "1/3")
    done = run(*arguments, "--prompt", tmp_path / "prompt.json")
    assert done.code == 0
    assert done.out.startswith("proved: a prompt of ")
    code, document = run_json(*arguments)
    assert code == 0
    assert document["verdict"] == "proved"
    assert document["error_of_this_function"] <= document["bound"] <= 0.05
    (output,) = document["outputs"]
    low, high = output["network"][0]
    assert low <= high
    assert abs(output["f"][0] - low) < 0.05
    prompt = json.loads((tmp_path / "prompt.json").read_text())
    assert len(prompt["P"][0]) == document["prompt_length"]


def test_a_constant_that_is_too_small_is_refuted_by_two_points(run_json: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("universality", "--target", SINE, "--lipschitz", "1.2", "--p", "2", "--eps", "0.1", "--out", tmp_path)
    code, document = run_json(*arguments)
    assert code == 1
    assert document["verdict"] == "refuted"
    assert document["counterexample"]["quotient"] > 1.2
    assert not list(tmp_path.iterdir())


def test_two_entries_with_kinks(run_json: Callable[..., Any], tmp_path: Path) -> None:
    arguments = ("universality", "--target", "abs(x11-x21)", "Min(x11,1/2)", "--d", 2, "--lipschitz", 2, "--p", 1)
    code, document = run_json(*arguments, "--eps", 2, "--out", tmp_path)
    assert code == 0
    assert document["lipschitz"]["certified"] is not None


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("2*x", "above 1"),
        ("x-1/2", "below 0"),
        ("y", "expected one of the names x"),
        ("x.__class__", "expected arithmetic and functions"),
        ("__import__('os')", "expected one of the functions"),
        ("x +", "expected an expression"),
        ("x**x", "rational number as exponent"),
        ("x**(10**9)", "rational number as exponent"),
        ("sin(x, x)", "takes 1"),
        ("log(x-2)", "entry 0 not defined at (0): the logarithm of a number that is not positive"),
        ("log(x)", "entry 0 not defined at (0): the logarithm of a number that is not positive"),
        ("sqrt(x-2)", "entry 0 not defined at (0): the square root of a negative number"),
        ("(x-2)**(1/3)", "entry 0 not defined at (0): a fractional power of a negative number"),
        ("x**(-1)", "entry 0 not defined at (0): a negative power of zero"),
        ("x/0", "entry 0 not defined at (0): a division by zero"),
        ("Min(1, Max(0, 1/(x-1/2)))", "entry 0 not defined at (1/2): a division by zero"),
        ("1/(x-1/2)", "below 0 at (0)"),
        ("tan(3*x)", "below 0 at (1)"),
        ("exp(exp(exp(exp(40*x))))", "above 1 at (0)"),
    ],
)
def test_targets_that_are_refused(refused: Callable[..., str], tmp_path: Path, target: str, why: str) -> None:
    assert why in refused(4, "universality", "--target", target, *SIZES, "--eps", "0.5", "--out", tmp_path)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("Min(1, Max(0, tan(3*x)))", "the values of entry 0 are not enclosed near (0.523599)"),
        ("sqrt(abs(x-1/2))", "the values of entry 0 are not enclosed near (0.5)"),
        ("1/exp(exp(exp(40*x)))", "the values of entry 0 are not enclosed near (1)"),
        ("x*sqrt(x)", "its derivative is not enclosed near (0)"),
    ],
)
def test_targets_that_are_not_enclosed(
    run: Callable[..., Any], run_json: Callable[..., Any], tmp_path: Path, target: str, why: str
) -> None:
    arguments = ("universality", "--target", target, *SIZES, "--eps", "0.5", "--out", tmp_path)
    done = run(*arguments)
    assert (done.code, done.out) == (2, "\n" if done.out else "")
    assert done.err.count("\n") == 1
    assert why in done.err
    assert run_json(*arguments)[0] == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["x**(3/2)", "(1-x)**(3/2)", "log(1+x)", "sqrt(0)*x", "1/3"])
def test_targets_whose_domain_ends_at_the_cube(run: Callable[..., Any], tmp_path: Path, target: str) -> None:
    done = run("universality", "--target", target, *SIZES, "--eps", "0.5", "--out", tmp_path, "--at", 0)
    assert (done.code, done.err) == (0, "")


def test_a_root_is_not_lipschitz(run_json: Callable[..., Any], tmp_path: Path) -> None:
    code, document = run_json("universality", "--target", "sqrt(x)", *SIZES, "--eps", "0.5", "--out", tmp_path)
    assert code == 1
    assert document["counterexample"]["quotient"] > 1.5


@pytest.mark.parametrize("p", ["10000", "9973/2", "10000/9999"])
def test_norms_at_the_limit(run: Callable[..., Any], tmp_path: Path, p: str) -> None:
    arguments = ("--lipschitz", 1, "--p", p, "--eps", "1/4")
    assert run("universality", "--target", "x", *arguments, "--out", tmp_path).code == 0
    assert run("constants", "--d", 1, "--m", 1, *arguments).code == 0


def test_norms_beyond_the_limit(refused: Callable[..., str], tmp_path: Path) -> None:
    arguments = ("universality", "--target", "x", "--lipschitz", 1, "--p", "123456789123/7", "--eps", 1)
    assert "a numerator and a denominator of at most 10^4" in refused(4, *arguments, "--out", tmp_path)


def test_numbers_too_large_to_write_down(refused: Callable[..., str], tmp_path: Path) -> None:
    arguments = ("universality", "--target", "x", "--lipschitz", 1, "--p", 1, "--eps", "1e-9", "--out", tmp_path)
    assert "bits" in refused(3, *arguments)


def test_an_entry_of_one_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    arguments = ("universality", "--target", "x", "--lipschitz", 1, "--p", 1, "--eps", "0.5", "--out", tmp_path)
    assert "equal to 1" in refused(4, *arguments, "--at", "1")
