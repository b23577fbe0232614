"""Random small layers for the tests: hypothesis strategies for exact numbers, matrices, heads and MLPs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from flint import fmpq
from hypothesis import strategies as st

from constructions.numbers.rational import RationalMatrix
from constructions.transformer import FeedForward, Head
from verify.certificate import Certificate
from verify.kernel_process import KERNEL, KernelAnswer, check_files

Draw = Callable[..., Any]

rationals = st.fractions(-3, 3, max_denominator=3).map(lambda x: fmpq(x.numerator, x.denominator))
integers = st.integers(-2, 2).map(fmpq)


def vectors(length: int, entries: st.SearchStrategy[fmpq] = rationals) -> st.SearchStrategy[list[fmpq]]:
    return st.lists(entries, min_size=length, max_size=length)


def matrices(
    rows: int, columns: int, entries: st.SearchStrategy[fmpq] = rationals
) -> st.SearchStrategy[RationalMatrix]:
    """A rows×columns matrix; now and then all zero."""
    full = st.lists(vectors(columns, entries), min_size=rows, max_size=rows).map(
        lambda values: RationalMatrix.of(values, columns=columns)
    )
    return st.integers(0, 11).flatmap(lambda k: st.just(RationalMatrix.zeros(rows, columns)) if k == 0 else full)


@st.composite
def heads(draw: Draw, d: int, s: int | None = None, entries: st.SearchStrategy[fmpq] = integers) -> Head:
    """A head of width d, of size 1 to d + 1 unless ``s`` is given, with a query bias now and then."""
    size = draw(st.integers(1, d + 1)) if s is None else s
    weights = [draw(matrices(size, d, entries)) for _ in range(3)]
    bias = draw(matrices(size, 1, entries)) if draw(st.booleans()) else RationalMatrix.zeros(size, 1)
    return Head(*weights, draw(matrices(d, size, entries)), bias)


@st.composite
def mlps(draw: Draw, d: int, r: int, entries: st.SearchStrategy[fmpq] = integers) -> FeedForward:
    """An MLP with small entries: integers by default, so that singular blocks are frequent."""
    return FeedForward(
        draw(matrices(r, d, entries)), draw(matrices(r, 1, entries)), draw(matrices(d, r, entries)),
        draw(matrices(d, 1, entries)),
    )  # fmt: skip


def fraction(x: fmpq) -> Fraction:
    return Fraction(int(x.p), int(x.q))


def fractions(values: Any) -> list[Fraction]:
    return [fraction(x) for x in values]


def rows(matrix: RationalMatrix) -> list[list[Fraction]]:
    return [fractions(row) for row in matrix.rows()]


def kernel_answers(folder: Path, certificates: list[Certificate]) -> list[KernelAnswer]:
    """The kernel's answers about many certificates, from one process."""
    paths = []
    for k, certificate in enumerate(certificates):
        path = folder / f"certificate-{k}.json"
        certificate.write(path)
        paths.append(path)
    return check_files(paths)


def demand_all_true(folder: Path, certificates: list[Certificate]) -> None:
    assert certificates
    wrong = [answer for answer in kernel_answers(folder, certificates) if answer.verdict != "true"]
    assert not wrong, wrong[:3]


def judged(text: str) -> tuple[str, str]:
    """The kernel's verdict and sentence about the text of a certificate, in this process (for many short checks)."""
    kernel = str(KERNEL)
    if kernel not in sys.path:
        sys.path.append(kernel)
    import limits
    import verdict

    limits.DEADLINE.start()
    try:
        return "true", verdict.prove(text.encode())
    except limits.NotACertificate as error:
        return "not a certificate", str(error)
    except limits.Refuted as error:
        return "false", str(error)
    except limits.OverLimits as error:
        return "over limits", str(error)
