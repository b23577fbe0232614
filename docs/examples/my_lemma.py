"""A lemma of my own about softmax attention: as I believed it, and as it is."""

from fractions import Fraction

from flint import fmpq
from hypothesis import strategies as st

from constructions.depth.constants import LayerNorms, Region
from constructions.depth.slack import box_cover
from constructions.numbers.rational import RationalMatrix
from constructions.transformer import Attention, FeedForward, Head, Layer
from verify.claims import Claim
from verify.claims.attention_lipschitz import bound_certificate, box_certificate
from verify.counterexample import Refuted
from verify.user_claims import property_case

ONE = RationalMatrix.identity(1)
HEAD = Head(W_q=ONE, W_k=ONE, W_v=ONE)  # one head on tokens of width 1: the output is an average of the tokens
ATTENTION = Attention((HEAD,))
LAYER = Layer(ATTENTION, FeedForward.none(1))


def demand_lipschitz(Z, moved, constant):
    """|Att(Z) - Att(moved)| <= constant * |Z - moved| in the max norm, decided exactly in Q(e^q)."""
    allowed = constant * max(abs(Z[0, j] - moved[0, j]) for j in range(Z.shape[1]))
    before, after = ATTENTION(Z, Z), ATTENTION(moved, moved)
    for j in range(Z.shape[1]):
        change = after[0, j] - before[0, j]
        if change > allowed or change < -allowed:
            raise Refuted(f"token {j}: expected a change of at most {allowed}, found {shown(change)}")


def shown(change):
    return f"about {float(change.enclosure().mid()):.4f}" if hasattr(change, "enclosure") else str(change)


def tokens(entries, count=2):
    return st.lists(entries, min_size=count, max_size=count).map(lambda row: RationalMatrix.of([row]))


def believed(settings):
    """An average of values moves by no more than the values do, so the constant should be |V| = 1."""
    drawn = {"Z": tokens(st.integers(-3, 3)), "moved": tokens(st.integers(-3, 3))}
    return [property_case("integers", drawn, lambda Z, moved: demand_lipschitz(Z, moved, 1), settings=settings)]


IN_BALL, ON_BOX = fmpq(3001, 1000), fmpq(3, 2)
REGION = Region(prompt_radius=fmpq(0), input_radius=fmpq(1), prompt_length=0, input_length=2)


def prove_ball():
    norms = LayerNorms.of(LAYER)
    assert norms.attention(REGION, "max", "joint") < IN_BALL  # the certificate states this bound, rounded up a little
    return bound_certificate(LAYER, norms, REGION, "max", "joint")


def prove_box():
    cover = box_cover(LAYER, RationalMatrix.of([[0, 1]]), fmpq(1, 8), "max", "joint", 0, target=fmpq(149, 100))
    assert cover.bound <= ON_BOX  # the certificate states this bound
    return box_certificate(cover)


def corrected(settings):
    """The weights of the average move too. In a ball of radius R the constant is |V| (1 + 2 |A| R^2), here 3; within
    1/8 of the tokens 0 and 1 it is at most 3/2."""
    ball = tokens(st.fractions(-1, 1, max_denominator=4))
    step = st.fractions(Fraction(-1, 8), Fraction(1, 8), max_denominator=16)
    box = st.tuples(step, step).map(lambda steps: RationalMatrix.of([[steps[0], 1 + steps[1]]]))
    return [
        property_case(
            "ball",
            {"Z": ball, "moved": ball},
            lambda Z, moved: demand_lipschitz(Z, moved, IN_BALL),
            settings=settings,
            examples=50,
            prove=prove_ball,
        ),
        property_case(
            "box",
            {"Z": box, "moved": box},
            lambda Z, moved: demand_lipschitz(Z, moved, ON_BOX),
            settings=settings,
            examples=50,
            prove=prove_box,
        ),
    ]


CLAIMS = (
    Claim(
        slug="attention-averages",
        title="Attention averages",
        statement="In the max norm a softmax head stretches differences by at most |V|.",
        source="my notes, page 3",
        scope="the constant of this head",
        cases=believed,
    ),
    Claim(
        slug="attention-averages-corrected",
        title="Attention averages, with weights that move",
        statement="This head stretches differences by at most 3.001 in the unit ball, by 3/2 within 1/8 of (0, 1).",
        source="my notes, page 4",
        scope="the constant of this head on that region",
        cases=corrected,
    ),
)
