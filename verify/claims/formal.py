"""Which claims rest on lemmas that are proved in Coq, by name.

The tests hold the files in formal/ and the page docs/machine-checked.md against this list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FormalLemma:
    """A theorem of formal/``file``.v, what it says in prose, and the claims (by slug) whose mathematics it is."""

    file: str
    name: str
    prose: str
    claims: tuple[str, ...]


PAIR = ("unmemorizable-pair",)
SPLIT = ("attention-split",)
LAW = ("prompt-law",)
QUERIES = ("several-queries",)
PREIMAGES = ("mlp-injectivity", "unmemorizable-pair")
DEPTH = ("prompted-injectivity",)
CONTEXTS = ("contextual-mapping", "universality-hardmax", "universality-softmax")
LENGTH = ("prompt-length-bound",)
GRID = ("quantisation", "universality-hardmax", "universality-softmax")
SOFTMAX = ("universality-softmax",)

LEMMAS: tuple[FormalLemma, ...] = (
    FormalLemma("Split", "lambda_in_open_interval", "For P, X ≠ [], λ = S(X)/(S(X) + S(P)) is in (0, 1).", SPLIT),
    FormalLemma(
        "Split",
        "attention_split",
        "For every prompt list P ≠ [] and context X ≠ [] of any length: "
        "Att(x, [P, X]) = λ Att(x, X) + (1 − λ) Att(x, P).",
        SPLIT,
    ),
    FormalLemma(
        "Pair",
        "cone",
        "One head, along w, every P ≠ []: w·B_1 ≥ 0 ≥ w·a_1 and w·B_2 ≤ 0 ≤ w·a_2, one of the four strict, cannot be, "
        "where w·a_k is the head's output on [P, X_k].",
        PAIR,
    ),
    FormalLemma("Pair", "cone_outputs", "The same for the context outputs A_k = B_k/S_k, X_k ≠ [].", PAIR),
    FormalLemma(
        "Pair",
        "closeness",
        "One head, along w, every P ≠ []: w·a_1 ≤ M_1 ≤ m_2 ≤ w·a_2 and w·B_1 − w·B_2 − S_1 M_1 + S_2 m_2 ≥ 0, one of "
        "M_1 ≤ m_2 and the last strict, cannot be.",
        PAIR,
    ),
    FormalLemma(
        "Pair",
        "cone_of_one_head",
        "Head-wise: the cone for the sum of all heads, where w vanishes on the values of all heads but one.",
        PAIR,
    ),
    FormalLemma("Pair", "closeness_of_one_head", "Head-wise: closeness for the sum of all heads.", PAIR),
    FormalLemma(
        "PromptLaw",
        "prompt_law",
        "Every prompt P ≠ []: log S = q·p̄ + H, where H is the entropy of the attention weights.",
        LAW,
    ),
    FormalLemma("PromptLaw", "entropy_nonneg", "0 ≤ H.", LAW),
    FormalLemma("PromptLaw", "entropy_le_log_length", "H ≤ log m_p, m_p the number of tokens of P ≠ [].", LAW),
    FormalLemma("PromptLaw", "entropy_pos", "0 < H for two tokens or more.", LAW),
    FormalLemma("PromptLaw", "entropy_one_token", "H = 0 for one token.", LAW),
    FormalLemma(
        "PromptLaw",
        "converse_length",
        "Converse: q ≠ 0, S > 0, p̄ and positive weights w with sum 1 and log S = q·p̄ + H(w) given, the prompt "
        "p_j = p̄ + ((log S + log w_j − q·p̄)/|q|²) q has a token for each weight, …",
        LAW,
    ),
    FormalLemma("PromptLaw", "converse_mass", "… its mass is S, …", LAW),
    FormalLemma("PromptLaw", "converse_mean", "… and its mean is p̄.", LAW),
    FormalLemma(
        "Entropy", "every_entropy", "For m ≥ 2 and 0 < H ≤ log m there are m positive weights with entropy H.", LAW
    ),
    FormalLemma(
        "Entropy",
        "prompt_law_converse",
        "For m ≥ 2, q ≠ 0, S > 0 and p̄ with 0 < log S − q·p̄ ≤ log m there is a prompt of m tokens with mass S and mean "
        "p̄.",
        LAW,
    ),
    FormalLemma(
        "SeveralQueries", "gibbs", "Two queries at one prompt P ≠ []: the divergence KL(w_i‖w_k) is ≥ 0.", QUERIES
    ),
    FormalLemma("SeveralQueries", "divergence_inequality", "D_ik = log S_k − log S_i + (q_i − q_k)·p̄_i ≥ 0.", QUERIES),
    FormalLemma("SeveralQueries", "entropy_inequality", "0 ≤ H_i = log S_i − q_i·p̄_i ≤ log m_p.", QUERIES),
    FormalLemma(
        "LengthBound",
        "outputs_need_tokens",
        "n queries whose outputs V p̄_k on the prompt are nonzero multiples of independent vectors (f_i(V p̄_k) = γ_k if "
        "i = k, else 0, for functionals f_i) need n tokens.",
        LENGTH,
    ),
    FormalLemma(
        "LengthBound",
        "length_bound",
        "One head: outputs α_k v_k asked for, context outputs β_k v_k, α_k ≠ λβ_k for all λ ∈ (0, 1), v_k told apart "
        "by functionals: n ≤ m_p.",
        LENGTH,
    ),
    FormalLemma(
        "Quantisation",
        "quantisation_bound",
        "d = m = 1, p = 1: f L-Lipschitz on [0, 1], values T_j within δ/2 of f at the centres of the cells, "
        "|f − T_j| integrable: Σ_j ∫ |f − T_j| ≤ (δ/2)(L/2 + 1).",
        GRID,
    ),
    FormalLemma("Quantisation", "quantisation", "The same for f Lipschitz on the line, where it is integrable.", GRID),
    FormalLemma(
        "ErrorRecursion",
        "softmax_near_hardmax",
        "One token leads by τ in score and by at most r in value: softmax returns its value up to (n − 1) r e^{−τ}.",
        SOFTMAX,
    ),
    FormalLemma(
        "ErrorRecursion",
        "sweep_error",
        "K layers, n of which lift: from e → e + cρ and e → (2c − 1)e + 2cρ follows e ≤ (2c − 1)^n c (K + n) ρ, c ≥ 1.",
        SOFTMAX,
    ),
    FormalLemma("ErrorRecursion", "shift_error", "The global shift: e → (1 + G) e + G ρ.", SOFTMAX),
    FormalLemma(
        "Residual",
        "stack_residual",
        "Layers T_l with constants c_l of T_l − 1 on regions where the trajectories stay: T − 1 has the constant "
        "Π(1 + c_l) − 1 between them.",
        DEPTH,
    ),
    FormalLemma(
        "Residual",
        "prompted_injectivity",
        "If the output read is a linear map of norm at most 1 and reads all that differs between two inputs: "
        "|Y − Y'| ≥ (2 − Π(1 + c_l)) |X − X'|.",
        DEPTH,
    ),
    FormalLemma(
        "Residual",
        "prompted_floor",
        "For every target one of the two outputs misses it by at least ½ (2 − Π(1 + c_l)) |X − X'|.",
        DEPTH,
    ),
    FormalLemma("Residual", "outputs_differ", "If Π(1 + c_l) < 2, different inputs have different outputs.", DEPTH),
    FormalLemma(
        "Preimage",
        "leaf_bound",
        "MLP(z) = y and signs fixed for some units: multipliers λ with λ_i ≤ 0 but at active units and f_i ≤ (M^T λ)_i "
        "but at inactive ones bound f·h ≤ λ·c, h = ReLU(W_1 z + b_1).",
        PREIMAGES,
    ),
    FormalLemma("Preimage", "leaf_bound_along", "Hence w·z ≤ w·(y − b_2) + λ·c for f = −W_2^T w.", PREIMAGES),
    FormalLemma("Preimage", "empty_leaf", "With f = 0 and λ·c < 0 there is no such z.", PREIMAGES),
    FormalLemma(
        "Preimage",
        "one_preimage",
        "If e·M e ≤ 0 only for e = 0 (M = I + W_1 W_2), then y has one preimage at most.",
        PREIMAGES,
    ),
    FormalLemma(
        "Preimage",
        "definite",
        "If N − F F^T is dominated by its diagonal, N is positive definite.",
        (*PREIMAGES, *DEPTH),
    ),
    FormalLemma(
        "Collapse",
        "uniform_layer",
        "W_q = 0, no hidden units: a layer adds V μ, μ the mean token, to every token.",
        DEPTH,
    ),
    FormalLemma(
        "Collapse",
        "collapse",
        "If (1 + V_L) ⋯ (1 + V_1) = −m_p, the output at the input token is −Σ p_j, for every prompt and input.",
        DEPTH,
    ),
    FormalLemma(
        "Collapse",
        "collapse_injective",
        "If every V_l makes every vector shorter, the stack is injective on all tokens together.",
        DEPTH,
    ),
    FormalLemma(
        "ContextualMapping",
        "check_distinct_sound",
        "All contexts run through sweep and shift by computation: no column fires twice, and all read columns of all "
        "contexts have different ids.",
        CONTEXTS,
    ),
    FormalLemma(
        "ContextualMapping",
        "check_collision_sound",
        "The same for two contexts: two different read columns have one id.",
        ("contextual-mapping",),
    ),
    FormalLemma(
        "ContextualMappingBound",
        "contextual_mapping",
        "For every d, m ≥ 1, k ≥ 2 and G ≥ 0 with m = 1 or G ≥ c^n ((n−1)Uk + c): every column fires once in the "
        "sweep, and all read columns of all contexts have different ids after the shift.",
        CONTEXTS,
    ),
    FormalLemma(
        "ContextualMappingBound",
        "check_bound_sound",
        "These conditions by computation.",
        CONTEXTS,
    ),
    FormalLemma(
        "ExpEnclosure",
        "taylor_encloses",
        "For y ≥ 0 the partial sums of the series of e^{−y} are below it and above it in turns.",
        PAIR,
    ),
    FormalLemma("Exponential", "positive_sum_sound", "A sum Σ c e^q that is computed to be positive is.", PAIR),
    FormalLemma("Exponential", "nonneg_sum_sound", "A sum Σ c e^q that is computed to be ≥ 0 is.", PAIR),
    FormalLemma(
        "ReplayPair",
        "covered_sound",
        "A preimage proof that passes the check leaves every z with MLP(z) = y in one of its pieces.",
        PREIMAGES,
    ),
    FormalLemma("ReplayPair", "upper_bound_sound", "On a piece w·z is at most the number computed for it.", PREIMAGES),
    FormalLemma(
        "ReplayPair",
        "check_pair_sound",
        "A certificate that passes the check is true: no prompt P ≠ [] of real tokens meets all queries of this layer.",
        PAIR,
    ),
    FormalLemma(
        "Examples",
        "some_prompt_meets",
        "The definitions are not empty: at a layer of uniform attention the prompt 2y makes the output y.",
        PAIR,
    ),
    FormalLemma("Examples", "no_prompt_meets_both", "No prompt makes it 0 and 1 at once.", PAIR),
    FormalLemma(
        "ReplayCollapse",
        "check_collapse_sound",
        "A certificate that passes the check is true: the value maps contract, the stack is injective, and its output "
        "at the input token is −Σ p_j.",
        DEPTH,
    ),
)


def lemmas_of(slug: str) -> tuple[FormalLemma, ...]:
    """The formal lemmas of a claim.

    >>> [lemma.name for lemma in lemmas_of("attention-split")]
    ['lambda_in_open_interval', 'attention_split']
    """
    return tuple(lemma for lemma in LEMMAS if slug in lemma.claims)
