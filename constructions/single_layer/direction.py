"""Direction lemma: which outputs a two-token context can give, and the token that gives them.

For one head with logit vector q at x_0, ``s_0 = q·x_0`` and ``κ = e^ρ`` (ρ rational): ``Att(x_0, [x_1, x_0]) = A``
with weight ``1/(1+κ)`` on x_1 exactly when ``x_1 = (1+κ) z − κ x_0`` for a z with ``V z = A`` and ``q·z = s_0 −
ρ/(1+κ)``. For invertible V this is ``z = V^{-1}A`` and a condition on ``g·A``, g = V^{-T}q. Source: THEORY section 2
(closed form ours; cf. Wang et al. 2023, Lemma 7).
"""

from __future__ import annotations

from collections.abc import Sequence

from flint import fmpq

from constructions.numbers.exponential import ExpFraction, ExpSum
from constructions.numbers.exponential_matrix import ExpMatrix
from constructions.numbers.rational import RationalLike, RationalMatrix, column_vector, dot, rational
from constructions.transformer import Head


class DirectionError(ValueError):
    """The head cannot give this output with this weight; the message says which condition fails."""


def required_score(head: Head, token: Sequence[fmpq], rho: RationalLike = 0) -> ExpFraction:
    """The value ``s_0 − ρ/(1+e^ρ)`` that q·z must have."""
    q = head.logit_vectors(column_vector(token)).column(0)
    rho = rational(rho)
    return dot(q, token) - ExpFraction(ExpSum.of(rho), ExpSum.exp(rho) + 1)


def token_for_mean(mean: ExpMatrix | RationalMatrix, token: Sequence[fmpq], rho: RationalLike = 0) -> ExpMatrix:
    """``x_1 = (1+κ) z − κ x_0``: the token whose mixture with x_0, weights 1/(1+κ) and κ/(1+κ), has mean z (d×1)."""
    kappa = ExpSum.exp(rational(rho))
    z = ExpMatrix.embed(mean) if isinstance(mean, RationalMatrix) else mean
    return ExpMatrix(
        [[zi * (kappa + 1) - ExpFraction(kappa * xi)] for zi, xi in zip(z.column(0), token, strict=True)], 1
    )


def context_token(head: Head, token: Sequence[fmpq], A: ExpMatrix | RationalMatrix, rho: RationalLike = 0) -> ExpMatrix:
    """The token x_1 (d×1) with ``Att(x_0, [x_1, x_0]) = A`` and weight 1/(1+e^ρ) on x_1, exactly.

    ``token`` is x_0 (d numbers), ``A`` is d×1. Raises DirectionError when A is not in the range of V or q·z cannot
    have the required value; with κ = 1 (ρ = 0) and rational A the token is rational.

    >>> from constructions.numbers.rational import vector
    >>> I = RationalMatrix.identity(2)
    >>> context_token(Head(I, I, I), vector([1, 0]), RationalMatrix.of([[1], [5]])).as_rational()
    RationalMatrix.of([['1'], ['10']])
    """
    q = head.logit_vectors(column_vector(token)).column(0)
    goal = A if isinstance(A, ExpMatrix) else ExpMatrix.embed(A)
    system = RationalMatrix.of([*head.V.rows(), q])
    right = [*goal.column(0), required_score(head, token, rho)]
    z = _solve(system, right)
    if z is None:
        if _solve(head.V, right[:-1]) is None:
            raise DirectionError("A: expected a vector in the range of V = W_o W_v, found one outside")
        raise DirectionError(
            "A: no token has this output with this weight; every z with V z = A needs q·z = s_0 − ρ/(1+e^ρ), "
            "which fails (for invertible V: g·A must have that value)"
        )
    return token_for_mean(z, token, rho)


def _solve(matrix: RationalMatrix, right: list[ExpFraction]) -> ExpMatrix | None:
    """One solution of ``matrix z = right`` over Frac(E), or None: an invertible block, then the other rows are
    checked."""
    rows = _independent_rows(matrix)
    block = RationalMatrix.of([matrix.rows()[i] for i in rows], columns=matrix.shape[1])
    pivots = _independent_rows(block.T)
    square = RationalMatrix.of([[block[i, j] for j in pivots] for i in range(len(rows))], columns=len(pivots))
    z = [ExpFraction(ExpSum({}))] * matrix.shape[1]
    if pivots:
        values = square.inverse() @ ExpMatrix([[right[i]] for i in rows], 1)
        for k, j in enumerate(pivots):
            z[j] = values[k, 0]
    solution = ExpMatrix([[x] for x in z], 1)
    return solution if (matrix @ solution) == ExpMatrix([[x] for x in right], 1) else None


def _independent_rows(matrix: RationalMatrix) -> list[int]:
    """Indices of a largest set of linearly independent rows: the pivots of the transpose."""
    reduced, rank = matrix.T.mat.rref()
    return [next(j for j in range(matrix.shape[0]) if reduced[i, j] != fmpq(0)) for i in range(rank)]
