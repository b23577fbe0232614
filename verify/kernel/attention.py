"""Softmax attention of one layer, as far as single tokens and their contexts are concerned.

Tokens are the columns of X (d x m) in a file; here a context is a matrix whose rows are its tokens (m x d).
W_o W_v is never formed: it is applied from either side, factor by factor.
"""

from dataclasses import dataclass

from expsum import ExpSum, exp_sum
from fractions_of_sums import Fractions
from limits import DEADLINE
from preimage import Mlp, read_mlp
from rational import Matrix, Vector, read_matrix, read_vector
from reading import Field


@dataclass(frozen=True)
class Head:
    """One attention head: W_q, W_k, W_v are s x d, W_o is d x s, the query bias b_q has length s."""

    W_q: Matrix
    W_k: Matrix
    W_v: Matrix
    W_o: Matrix
    b_q: Vector

    def logit_vector(self, token: Vector) -> Vector:
        """q = W_k^T (W_q x + b_q): the score of a token z, asked by the query token x, is q.z."""
        return self.W_k.transposed() @ (self.W_q @ token + self.b_q)

    def value_row(self, w: Vector) -> Vector:
        """g = V^T w, so that w.(V z) = g.z, where V = W_o W_v."""
        return self.W_v.transposed() @ (self.W_o.transposed() @ w)

    def value(self, token: Vector) -> Vector:
        """V z."""
        return self.W_o @ (self.W_v @ token)


def attention_mass(scores: Vector) -> ExpSum:
    """S: the sum of e^score over the tokens of a context."""
    return exp_sum(Vector((1,) * len(scores), 1), scores)


def average(head: Head, token: Vector, tokens: Matrix) -> Fractions:
    """What the head gives to a token that attends to these tokens: the sum of e^{q.z} V z, over that of e^{q.z}."""
    scores = tokens @ head.logit_vector(token)
    values = []
    for k in range(len(tokens.rows)):
        DEADLINE.check()
        values.append(head.value(tokens.row(k)))
    coordinates = zip(*(value.num for value in values), strict=True)
    return Fractions(tuple(exp_sum(Vector(b, values[0].den), scores) for b in coordinates), attention_mass(scores))


def joined(prompt: Matrix, context: Matrix) -> Matrix:
    """[P, X], over one denominator: each part is padded with zero tokens, then they are added."""
    no_prompt = ((0,) * prompt.width,) * len(prompt.rows)
    no_context = ((0,) * context.width,) * len(context.rows)
    return Matrix(prompt.rows + no_context, prompt.den, prompt.width) + Matrix(
        no_prompt + context.rows, context.den, context.width
    )


@dataclass(frozen=True)
class Input:
    """What the query token sees without the prompt (m x d), and the token itself."""

    context: Matrix
    token: Vector


@dataclass(frozen=True)
class Query(Input):
    """An input, and the output asked for."""

    target: Vector


@dataclass(frozen=True)
class Layer:
    """Attention heads, then the MLP with its skip connection; a prompt length if an embedding fixes one."""

    heads: tuple[Head, ...]
    mlp: Mlp
    prompt_length: int | None


def read_head(field: Field, d: int) -> Head:
    """A head of a layer with tokens of length d."""
    W_q, W_k, W_v, W_o, b_q = field.record("W_q", "W_k", "W_v", "W_o", "b_q")
    bias = read_vector(b_q)
    s = len(bias)
    return Head(read_matrix(W_q, s, d), read_matrix(W_k, s, d), read_matrix(W_v, s, d), read_matrix(W_o, d, s), bias)


def read_heads(field: Field, d: int) -> tuple[Head, ...]:
    """A list of at least one head."""
    heads = tuple(read_head(head, d) for head in field.items())
    if not heads:
        field.fail("at least one head", "none")
    return heads


def read_tokens(field: Field, d: int) -> Matrix:
    """At least one token: the columns of a d x m matrix become the rows of the result."""
    tokens = read_matrix(field, d).transposed()
    if not tokens.rows:
        field.fail("at least one column", "none")
    return tokens


def read_parts(field: Field) -> tuple[tuple[Head, ...], Mlp, bool, Matrix | None]:
    """Heads, MLP, whether there is a causal mask, positional embedding (a row for each position)."""
    heads_field, mlp_field, causal, E = field.record("heads", "mlp", "causal", "E")
    mlp = read_mlp(mlp_field)
    heads = read_heads(heads_field, mlp.d)
    return heads, mlp, causal.boolean(), None if E.is_null() else read_tokens(E, mlp.d)


def read_layer(field: Field) -> Layer:
    """A layer without positional embedding; for what is read at single tokens a mask plays no role."""
    heads, mlp, _, embedding = read_parts(field)
    if embedding is not None:
        field.fail("a layer without E", "one with E")
    return Layer(heads, mlp, None)


def _read_layer_and(
    layer_field: Field, inputs_field: Field, *names: str
) -> tuple[Layer, list[tuple[Input, list[Field]]]]:
    """A layer and its inputs, each with the fields of these names; embedding and mask are applied on the way."""
    heads, mlp, causal, embedding = read_parts(layer_field)
    inputs: list[tuple[Input, list[Field]]] = []
    prompt_length = None
    for field in inputs_field.items():
        X, column, *others = field.record("X", "column", *names)
        tokens = read_tokens(X, mlp.d)
        m = len(tokens.rows)
        k = column.index(m)
        if embedding is not None:
            if m >= len(embedding.rows) or prompt_length not in (None, len(embedding.rows) - m):
                X.fail(f"as many columns as in other queries, below the {len(embedding.rows)} of E", f"{m}")
            prompt_length = len(embedding.rows) - m
            # The prompt is in front, so the tokens of X take the last columns of E. What E adds to the prompt
            # changes nothing: the prompt is arbitrary.
            tokens += Matrix(embedding.rows[-m:], embedding.den, mlp.d)
        seen = tokens.rows[: k + 1] if causal else tokens.rows
        inputs.append((Input(Matrix(seen, tokens.den, mlp.d), tokens.row(k)), others))
    return Layer(heads, mlp, prompt_length), inputs


def read_layer_and_inputs(layer_field: Field, inputs_field: Field) -> tuple[Layer, tuple[Input, ...]]:
    """A layer and at least one input, for which no output is stated."""
    layer, inputs = _read_layer_and(layer_field, inputs_field)
    if not inputs:
        inputs_field.fail("at least one input", "none")
    return layer, tuple(one for one, _ in inputs)


def read_layer_and_queries(layer_field: Field, queries_field: Field) -> tuple[Layer, tuple[Query, ...]]:
    """A layer and the queries put to it."""
    layer, inputs = _read_layer_and(layer_field, queries_field, "target")
    queries = (Query(one.context, one.token, read_vector(target, layer.mlp.d)) for one, (target,) in inputs)
    return layer, tuple(queries)
