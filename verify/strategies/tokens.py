"""Prompts, inputs and datasets.

Tokens that are equal come up often, so that scores tie. Everything shrinks to fewer tokens, then to zeros.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flint import fmpq
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from constructions.data import Dataset, Example
from constructions.numbers.rational import RationalLike, RationalMatrix, column_vector
from constructions.transformer import FeedForward, Transformer
from verify.strategies.arguments import Size, elements_or, invalid, sizes, whole, whole_range
from verify.strategies.matrices import SMALL, draw_vector
from verify.strategies.models import WIDTHS

REPEATED = 5
"""One token in so many is a copy of an earlier one."""
Row = list[fmpq]


def inputs(
    d: Size | None = None,
    *,
    min_tokens: int = 1,
    max_tokens: int | None = None,
    elements: SearchStrategy[RationalLike] | None = None,
) -> SearchStrategy[RationalMatrix]:
    """Inputs X, d×m, of ``min_tokens`` (1) to ``max_tokens`` (3, or one more than the least) tokens of width ``d``
    (1 to 3).

    >>> from verify.strategies import smallest
    >>> smallest(inputs(2), lambda X: X.shape[1] == 2).rows()
    [[0, 0], [0, 0]]
    """
    entries, widths = elements_or(elements, SMALL), sizes("d", d, WIDTHS)
    most = max(3, min_tokens + 1) if max_tokens is None and isinstance(min_tokens, int) else max_tokens
    fewest, most = whole_range(("min_tokens", "max_tokens"), min_tokens, most, least=0)

    return _inputs(widths, st.integers(fewest, most), entries)


@st.composite
def _inputs(
    draw: DrawFn, widths: SearchStrategy[int], lengths: SearchStrategy[int], entries: SearchStrategy[fmpq]
) -> RationalMatrix:
    d, m = draw(widths), draw(lengths)
    return of_tokens(draw_tokens(draw, d, m, entries), d)


def draw_tokens(draw: DrawFn, d: int, m: int, entries: SearchStrategy[fmpq]) -> list[Row]:
    tokens: list[Row] = []
    for j in range(m):
        if j and draw(st.integers(1, REPEATED)) == REPEATED:
            tokens.append(list(draw(st.sampled_from(tokens))))
        else:
            tokens.append(draw_vector(draw, d, entries))
    return tokens


def of_tokens(tokens: Sequence[Row], d: int) -> RationalMatrix:
    return RationalMatrix.of([[token[i] for token in tokens] for i in range(d)], columns=len(tokens))


def prompts(
    d: Size | None = None,
    *,
    min_tokens: int = 1,
    max_tokens: int | None = None,
    elements: SearchStrategy[RationalLike] | None = None,
) -> SearchStrategy[RationalMatrix]:
    """Prompts P, d×m_p: the same as :func:`inputs`. A prompt has at least one token unless ``min_tokens`` is 0.

    >>> from verify.strategies import smallest
    >>> smallest(prompts(2), lambda P: P[1, 0] < 0).rows()
    [[0], [-1]]
    """
    return inputs(d, min_tokens=min_tokens, max_tokens=max_tokens, elements=elements)


def prompted(
    models: SearchStrategy[Transformer],
    *,
    max_prompt_tokens: int = 2,
    max_input_tokens: int = 2,
    elements: SearchStrategy[RationalLike] | None = None,
) -> SearchStrategy[tuple[Transformer, RationalMatrix, RationalMatrix]]:
    """(model, P, X): a model that ``models`` draws, with a prompt and an input that fit its width and its embedding.

    An embedding fixes the number of all tokens; the input then has at most one token less.

    >>> from verify.strategies import smallest, transformers
    >>> model, P, X = smallest(prompted(transformers(modified=True)))
    >>> P.shape, X.shape, model.with_prompt(P, X).rows()
    ((1, 1), (1, 1), [[0]])
    """
    if not isinstance(models, SearchStrategy):
        raise invalid("models", "a strategy for transformers", models)
    whole("max_prompt_tokens", max_prompt_tokens, least=1)
    whole("max_input_tokens", max_input_tokens, least=1)
    entries = elements_or(elements, SMALL)

    return _prompted(models, max_prompt_tokens, max_input_tokens, entries)


@st.composite
def _prompted(
    draw: DrawFn, models: SearchStrategy[Transformer], longest: int, most: int, entries: SearchStrategy[fmpq]
) -> tuple[Transformer, RationalMatrix, RationalMatrix]:
    model = draw(models)
    if model.E is None:
        m_p, m = draw(st.integers(1, longest)), draw(st.integers(1, most))
    else:
        M = model.E.shape[1]
        if M < 2:
            raise invalid("models", "an embedding of at least 2 tokens, one of them for the prompt", M)
        m = draw(st.integers(1, min(most, M - 1)))
        m_p = M - m
    joined = of_tokens(draw_tokens(draw, model.width, m_p + m, entries), model.width)
    return model, joined.columns(0, m_p), joined.columns(m_p, m_p + m)


def shared_token_datasets(
    d: Size | None = None,
    *,
    min_examples: int = 2,
    max_examples: int | None = None,
    max_context: int = 2,
    elements: SearchStrategy[RationalLike] | None = None,
    distinct_targets: bool = False,
    mlp: FeedForward | None = None,
) -> SearchStrategy[Dataset]:
    """Datasets whose inputs all end in one token x_0, behind different contexts of 1 to ``max_context`` tokens, with
    one target each, for x_0: the data of THEORY sections 2 and 3.1.

    ``distinct_targets``: no two targets are equal. ``mlp``: targets are in its range (its outputs at drawn points),
    ``d`` is its width. Contexts that would be equal are told apart by adding 1, 2, … to the entry they begin with.

    >>> from verify.strategies import smallest
    >>> data = smallest(shared_token_datasets(1, distinct_targets=True))
    >>> [(example.X.rows(), example.targets.rows()) for example in data.examples]
    [([[0, 0]], [[0]]), ([[1, 0]], [[1]])]
    """
    entries = elements_or(elements, SMALL)
    widths = sizes("d", d if mlp is None or d is not None else mlp.width, WIDTHS)
    most = max(3, min_examples) if max_examples is None and isinstance(min_examples, int) else max_examples
    fewest, most = whole_range(("min_examples", "max_examples"), min_examples, most, least=1)
    whole("max_context", max_context, least=1)

    if mlp is not None and isinstance(d, int) and d != mlp.width:
        raise invalid("d", f"the width {mlp.width} of the MLP", d)
    return _shared_token_datasets(
        widths, st.integers(fewest, most), st.integers(1, max_context), entries, distinct_targets, mlp
    )


@st.composite
def _shared_token_datasets(
    draw: DrawFn,
    widths: SearchStrategy[int],
    counts: SearchStrategy[int],
    lengths: SearchStrategy[int],
    entries: SearchStrategy[fmpq],
    distinct_targets: bool,
    mlp: FeedForward | None,
) -> Dataset:
    d, n = draw(widths), draw(counts)
    x_0 = draw_vector(draw, d, entries)
    contexts: list[list[Row]] = []
    targets: list[Row] = []
    for _ in range(n):
        context = draw_tokens(draw, d, draw(lengths), entries)
        while context in contexts:
            context[0][0] += 1
        contexts.append(context)
        y = _target(mlp, draw_vector(draw, d, entries))
        if distinct_targets and y in targets:
            y = next(other for other in _others(mlp, d) if other not in targets)
        targets.append(y)
    return Dataset(
        tuple(
            Example(of_tokens([*context, x_0], d), column_vector(y))
            for context, y in zip(contexts, targets, strict=True)
        )
    )


def _target(mlp: FeedForward | None, z: Row) -> Row:
    if mlp is None:
        return z
    y = mlp(column_vector(z))
    assert isinstance(y, RationalMatrix), "an MLP takes rationals to rationals"
    return y.column(0)


def _others(mlp: FeedForward | None, d: int) -> Iterator[Row]:
    """Outputs at ±k e_i. Where there are few of them the example is given up."""
    for k in range(1, 50):
        for i in range(d):
            for step in (k, -k):
                yield _target(mlp, [fmpq(step * (i == j)) for j in range(d)])
    reject()
