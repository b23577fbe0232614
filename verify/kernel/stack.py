"""Stacks of layers, and the regions of token matrices [P, X] that are looked at: each token within a radius.

Tokens are the columns of a matrix in a file, and the rows here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from attention import Layer, read_parts
from fractions_of_sums import ZERO
from limits import demand
from prompt_setting import describe_layer, in_words
from rational import Matrix, Scalar, Vector, read_matrix, read_scalar
from reading import SAFE, Field
from rounding import at_most, larger, length_above, rounded_up, square, whole
from vectors import sum_of

NORMS = ("max", "frobenius")
KINDS = ("joint", "input")


@dataclass(frozen=True)
class Region:
    """All [P, X] of so many tokens each, within these radii."""

    prompt_length: int
    input_length: int
    prompt_radius: Scalar
    input_radius: Scalar

    @property
    def tokens(self) -> int:
        """M."""
        return self.prompt_length + self.input_length

    def radius(self) -> Scalar:
        """R, the largest radius of a token that there is."""
        return larger(self.prompt_radius, self.input_radius) if self.prompt_length else self.input_radius

    def squared(self) -> Scalar:
        """D^2, which the sum of the squares of all tokens does not exceed."""
        prompt, context = square(self.prompt_radius), square(self.input_radius)
        return rounded_up(whole(self.prompt_length) * prompt + whole(self.input_length) * context)

    def demand_within(self, tokens: Matrix, radius: Scalar, where: str) -> None:
        """Every token (row) is within the radius."""
        for j in range(len(tokens.rows)):
            token = tokens.row(j)
            demand(at_most(token.dot(token), square(radius)), f"{where}: token {j} is not within the radius")

    def demand_holds(self, Z: Matrix, where: str) -> None:
        """The rows of Z are the tokens of a [P, X] of the region."""
        parts = self.split(Z)
        self.demand_within(parts[0], self.prompt_radius, f"{where}, prompt")
        self.demand_within(parts[1], self.input_radius, f"{where}, input")

    def split(self, Z: Matrix) -> tuple[Matrix, Matrix]:
        """The prompt, and the input."""
        m_p = self.prompt_length
        return Matrix(Z.rows[:m_p], Z.den, Z.width), Matrix(Z.rows[m_p:], Z.den, Z.width)

    def first_row(self, kind: str) -> int:
        """The first token that counts: all vary and count for `joint`, those of the input for `input`."""
        return 0 if kind == "joint" else self.prompt_length

    def describe(self) -> str:
        """The numbers of tokens, in words."""
        return f"prompt tokens: {in_words(self.prompt_length)}, input tokens: {in_words(self.input_length)}"


@dataclass(frozen=True)
class Stack:
    """Layers of one width; E (a row for each token) is added at the input. The region is meant without E."""

    layers: tuple[Layer, ...]
    causal: bool
    E: Matrix | None
    norm: str
    region: Region

    @property
    def d(self) -> int:
        """Length of tokens."""
        return self.layers[0].mlp.d

    def entered(self) -> Region:
        """A region that holds the tokens after E is added."""
        if self.E is None:
            return self.region
        prompt, context = (_longest(part) for part in self.region.split(self.E))
        return replace(
            self.region,
            prompt_radius=rounded_up(self.region.prompt_radius + prompt),
            input_radius=rounded_up(self.region.input_radius + context),
        )

    def embedded(self, Z: Matrix) -> Matrix:
        """Z, with E added."""
        return Z if self.E is None else Z + self.E

    def read_tokens(self, field: Field, count: int) -> Matrix:
        """A d x count matrix, whose columns are the rows of the result."""
        return read_columns(field, self.d, count)

    def describe(self) -> str:
        """The layers and the tokens, in words."""
        return f"{describe_layers(self.layers, self.causal)}, norm: {self.norm}, {self.region.describe()}"


def describe_layers(layers: Sequence[Layer], causal: bool) -> str:
    """One layer with its heads, or the number of layers."""
    first = describe_layer(layers[0]) if len(layers) == 1 else f"layers: {len(layers)}, d = {layers[0].mlp.d}"
    return f"{first}, causal" if causal else first


def _longest(tokens: Matrix) -> Scalar:
    return reduce(larger, (length_above(tokens.row(j)) for j in range(len(tokens.rows))), ZERO)


def total_size(sizes: Sequence[Scalar], norm: str) -> Scalar:
    """The square of the norm of a matrix of tokens, given the squares of their lengths."""
    return reduce(larger, sizes, ZERO) if norm == "max" else sum_of(sizes)


def squared_norm(rows: Sequence[Vector], norm: str) -> Scalar:
    """The square of the norm of a matrix of these tokens."""
    return total_size([row.dot(row) for row in rows], norm)


def read_columns(field: Field, d: int, count: int | None = None) -> Matrix:
    """A d x count matrix, whose columns are the rows of the result."""
    return read_matrix(field, d, count).transposed()


def read_radius(field: Field) -> Scalar:
    """A scalar >= 0."""
    radius = read_scalar(field)
    if radius.sign() < 0:
        field.fail("a scalar that is not negative", "a negative one")
    return radius


def read_positive(field: Field) -> Scalar:
    """A scalar > 0."""
    number = read_scalar(field)
    if number.sign() <= 0:
        field.fail("a positive scalar", "another")
    return number


def read_count(field: Field, least: int) -> int:
    """An integer that is at least so large, and below 2^53."""
    count = field.integer()
    if not least <= count < SAFE:
        field.fail(f"an integer from {least} on, below 2^53")
    return count


def read_layers(field: Field, tokens: int) -> tuple[tuple[Layer, ...], bool, Matrix | None]:
    """At least one layer, all of one width, all causal or none; the E of the first, for so many tokens."""
    layers: list[Layer] = []
    masks: list[bool] = []
    embedding = None
    for place in field.items():
        heads, mlp, causal, E = read_parts(place)
        if E is not None and (layers or len(E.rows) != tokens):
            place.fail("no E, or in the first layer one with as many columns as there are tokens", "another E")
        embedding = embedding if E is None else E
        layers.append(Layer(heads, mlp, None))
        masks.append(causal)
    if not layers:
        field.fail("at least one layer", "none")
    if any(layer.mlp.d != layers[0].mlp.d for layer in layers) or len(set(masks)) > 1:
        field.fail("layers of one width, all with a causal mask or none")
    return tuple(layers), masks[0], embedding


def read_stack(field: Field) -> Stack:
    """A stack."""
    layers, norm, m_p, m, prompt_radius, input_radius = field.record(
        "layers", "norm", "prompt_length", "input_length", "prompt_radius", "input_radius"
    )
    region = Region(read_count(m_p, 0), read_count(m, 1), read_radius(prompt_radius), read_radius(input_radius))
    return Stack(*read_layers(layers, region.tokens), norm.choice(*NORMS), region)
