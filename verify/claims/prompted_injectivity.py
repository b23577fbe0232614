"""Claim: what prompts can still collapse, and where they cannot (THEORY section 7)."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from flint import fmpq

from constructions.depth.collapse import SubspaceCollapse, collapse, full_rank_collapse, outputs
from constructions.depth.constants import Norm, Region, Stack
from constructions.depth.fold import PRECISION, Fold, fold
from constructions.depth.same_output import SameOutput, two_layers
from constructions.depth.separation import Floor, Separation, floor, separation
from constructions.numbers.definite import positive_definite_factor
from constructions.numbers.digits import decimal_bound
from constructions.numbers.rational import RationalMatrix
from constructions.numbers.spectral_norm import root_above
from constructions.transformer import Transformer
from constructions.verdict import Evidence, Verdict
from verify import certificate as write
from verify.certificate import Certificate
from verify.claims import depth_parts
from verify.claims.claim import Case, CaseResult, Claim, Constant, Finding, Settings
from verify.falsifiers.prompted_injectivity import FALSIFIER
from verify.instances import contractive_stack, random_matrix

SLUG = "prompted-injectivity"
RUNS = 1000


def collapse_certificate(model: Transformer, prompt_length: int) -> Certificate:
    """Invertible layers whose output at the input token forgets the input.

    Raises ValueError for a layer whose value map has a norm of 1 or more.
    """
    factors = []
    for i, layer in enumerate(model.layers):
        V = layer.attention.heads[0].V
        rest = RationalMatrix.identity(V.shape[0]).mat - V.T.times(V).mat
        factor = positive_definite_factor(rest)
        if factor is None:
            raise ValueError(f"layer {i}: expected a value map of norm below 1")
        factors.append(write.matrix(RationalMatrix(factor)))
    instance = {"layers": depth_parts.layers(model), "prompt_length": prompt_length}
    return Certificate(SLUG, "collapse", Evidence.EXACT, instance, {"factors": factors})


def subspace_certificate(found: SubspaceCollapse, radius: fmpq) -> Certificate:
    """The same for tokens of a subspace within a radius (one prompt token), with W_q and W_k of any rank."""
    stack = Stack.of(found.model, Region(radius, radius, 1, 1), "max")
    instance = {
        "layers": depth_parts.layers(found.model),
        "basis": write.matrix(found.basis),
        "prompt_length": 1,
        "radius": write.scalar(radius),
    }
    witness = {"coordinates": [write.matrix(N) for N in found.coordinates], **depth_parts.proofs(stack)}
    return Certificate(SLUG, "subspace", Evidence.EXACT, instance, witness)


def same_output_certificate(found: SameOutput) -> Certificate:
    """Several inputs with one output, in a stack of invertible layers with a small product of constants."""
    stack = found.stack
    instance = {
        "stack": depth_parts.stack(stack.model, stack.region, stack.norm),
        "P": write.matrix(found.P),
        "inputs": [write.matrix(X) for X in found.inputs],
        "product": write.scalar(stack.product() * (1 + fmpq(1, 2**64))),
    }
    return Certificate(SLUG, "same-output", Evidence.EXACT, instance, depth_parts.proofs(stack))


def fold_certificate(found: Fold) -> Certificate:
    """Attention alone folds an interval of inputs."""
    instance = {
        "layers": depth_parts.layers(Transformer(found.layers)),
        "p": write.scalar(found.p),
        "x": [write.scalar(x) for x in found.x],
        "product": write.scalar(found.product),
    }
    boxes = [
        {
            "center": [write.scalar(cover.Z[0, 0]), write.scalar(cover.Z[0, 1])],
            "half_width": write.scalar(cover.half_width),
            "constant": write.scalar(cover.bound),
            "tree": cover.tree,
        }
        for cover in found.boxes
    ]
    return Certificate(SLUG, "fold", Evidence.ENCLOSED, instance, {"boxes": boxes, "precision": PRECISION})


def separation_certificate(found: Separation, bound: Floor | None = None) -> Certificate:
    """No prompt of the region maps two inputs to one output; with ``bound``, the floor for two given inputs."""
    stack = found.stack
    instance = {
        "stack": depth_parts.stack(stack.model, stack.region, stack.norm),
        "factor": write.scalar(found.factor),
        "inputs": None if bound is None else [write.matrix(bound.X), write.matrix(bound.other)],
        "floor": write.scalar(fmpq(0) if bound is None else bound.bound),
    }
    return Certificate(SLUG, found.argument, Evidence.EXACT, instance, depth_parts.proofs(stack))


def _forgets(model: Transformer, token: Callable[[], RationalMatrix]) -> CaseResult | None:
    """Runs random prompts and inputs exactly; a result where one does not come out as −p."""
    for _ in range(RUNS):
        P, X = token(), token()
        if outputs(model, P, X) != P.scaled(fmpq(-1)):
            return CaseResult(Verdict.REFUTED, Evidence.EXACT, f"the output at {X} with prompt {P} is not −p")
    return None


def _collapse(seed: int) -> CaseResult:
    model, rng = collapse(), random.Random(f"{SLUG}/{seed}")
    failed = _forgets(model, lambda: random_matrix(rng, 2, 1, size=999, denominator=rng.randint(1, 99)))
    if failed is not None:
        return failed
    summary = f"four invertible layers: with every prompt p every input comes out as −p ({RUNS:,} run exactly)"
    columns = [layer.attention.heads[0].V.column(0) for layer in model.layers]  # V turns and stretches the plane
    norms = ", ".join(decimal_bound(root_above(a * a + b * b), True, 3) for a, b in columns)
    constant = Constant(
        "constants of layers that keep inputs apart", "each below 1", f"at most {norms} do not", "not enough"
    )
    proof = collapse_certificate(model, 1)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, proof, constants=(constant,))


def _full_rank(seed: int) -> CaseResult:
    found, rng = full_rank_collapse(), random.Random(f"{SLUG}/{seed}/full-rank")
    failed = _forgets(found.model, lambda: found.basis.times(random_matrix(rng, 2, 1, size=99, denominator=99)))
    if failed is not None:
        return failed
    summary = f"W_q and W_k of full rank: the same for all tokens of a plane ({RUNS:,} run exactly)"
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, subspace_certificate(found, fmpq(3, 2)))


def _two_layers() -> CaseResult:
    found = two_layers()
    product = found.stack.product()
    summary = f"two layers with MLP, product {float(product):.6f}: {len(found.inputs)} inputs, one output"
    constants = (_product("with MLP", product),)
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, same_output_certificate(found), constants=constants)


def _product(which: str, product: fmpq) -> Constant:
    """The repaired condition against a collapse: how near its 2 is to the best number."""
    over = f"at most {decimal_bound(product - 2, True, 2)} from the best number"
    certified = f"at most {decimal_bound(product, True, 9)} does not"
    return Constant(f"product of constants that keeps inputs apart, {which}", "below 2 (ours)", certified, over)


def _fold(epsilon: fmpq) -> CaseResult:
    found = fold(epsilon)
    summary = f"two layers of attention alone, product {float(found.product):.8f}: two inputs with one output exist"
    constants = (_product("attention alone", found.product),)
    return CaseResult(Verdict.PROVED, Evidence.ENCLOSED, summary, fold_certificate(found), constants=constants)


def _separated(d: int, depth: int, norm: Norm, causal: bool, size: fmpq, seed: int) -> CaseResult:
    """A random stack, and the floor for two inputs that are asked for one output."""
    rng = random.Random(f"{SLUG}/{seed}/separated/{d}/{depth}/{norm}/{causal}")
    region = Region(fmpq(1), fmpq(1), 2, 1)
    stack = contractive_stack(rng, d, region, norm, depth=depth, attention=size, mlp=size, causal=causal)
    found = separation(stack)
    X, other = (RationalMatrix.of([[fmpq(sign, 2)]] + [[0]] * (d - 1)) for sign in (1, -1))
    bound = floor(found, X, other)
    summary = (
        f"{found.argument}: outputs keep {float(found.factor):.3g} of the inputs' distance, for every prompt; floor "
        f"{float(bound.bound):.3g} for two inputs and one target"
    )
    return CaseResult(Verdict.PROVED, Evidence.EXACT, summary, separation_certificate(found, bound))


def cases(settings: Settings) -> list[Case]:
    seed = settings.seed
    found = [
        Case("collapse", partial(_collapse, seed)),
        Case("collapse-full-rank", partial(_full_rank, seed)),
        Case("two-layers-with-mlp", _two_layers),
        Case("fold-attention-alone", partial(_fold, fmpq(1, 2**20))),
    ]
    shapes: list[tuple[str, int, int, Norm, bool, fmpq]] = [
        ("small-product-max", 2, 2, "max", False, fmpq(1, 8)),
        ("small-product-frobenius", 2, 2, "frobenius", False, fmpq(1, 8)),
        ("layer-by-layer-causal", 2, 3, "max", True, fmpq(1, 2)),
        ("layer-by-layer-single", 3, 1, "max", False, fmpq(3, 4)),
    ]
    if settings.thorough:
        shapes.append(("small-product-d8-depth4", 8, 4, "max", False, fmpq(1, 16)))
    return found + [
        Case(name, partial(_separated, d, depth, norm, causal, size, seed))
        for name, d, depth, norm, causal, size in shapes
    ]


CLAIM = Claim(
    slug=SLUG,
    title="Prompted injectivity",
    statement=(
        "Layers that are invertible on prompt and input together can still map all inputs to one output. They cannot "
        "where the product of the layers' constants Π (1 + a_l)(1 + b_l) is below 2, or layer by layer where the "
        "prompt's trajectory does not depend on the input; 2 is the best such number."
    ),
    source="THEORY section 7 (ours; cf. Theorem 5 of the paper)",
    scope="that this stack is invertible and forgets its input, or that no prompt of a region makes it do so",
    cases=cases,
    depends=("attention-lipschitz", "joint-injectivity"),
    findings=(
        Finding("An invertible transformer of four layers memorizes a constant dataset, by every prompt.", "collapse"),
        Finding("The same with W_q and W_k of full rank, for all tokens of a plane.", "collapse-full-rank"),
        Finding("The repaired condition's 2 cannot be raised, with MLP …", "two-layers-with-mlp"),
        Finding("… nor with attention alone, one head, width 1.", "fold-attention-alone"),
    ),
    falsifier=FALSIFIER,
)
