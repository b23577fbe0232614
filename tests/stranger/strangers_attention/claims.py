from flint import fmpq

from constructions.depth.constants import LayerNorms, Region
from constructions.verdict import Evidence, Verdict
from strangers_attention import copying_layer
from verify.claims import Case, CaseResult, Claim
from verify.claims.attention_lipschitz import bound_certificate

REGION = Region(prompt_radius=fmpq(0), input_radius=fmpq(1), prompt_length=0, input_length=2)


def contraction():
    layer = copying_layer(2)
    certificate = bound_certificate(layer, LayerNorms.of(layer), REGION, "max", "joint")
    return CaseResult(Verdict.PROVED, Evidence.EXACT, "equal scores: the constant is that of a mean", certificate)


CLAIMS = (
    Claim(
        slug="copying-contracts",
        title="Copying contracts",
        statement="The copying layer does not stretch.",
        source="the stranger's notebook",
        scope="the constant of this layer in the unit ball",
        cases=lambda settings: [Case("d2", contraction)],
    ),
)
