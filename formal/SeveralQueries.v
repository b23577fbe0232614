(* Several queries at one prompt: what every prompt satisfies.

   H_i = log S_i - q_i . p-bar_i is an entropy (PromptLaw.v), and
   D_ik = log S_k - log S_i + (q_i - q_k) . p-bar_i is a divergence, so it is not negative (Gibbs' inequality). *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums Attention PromptLaw.
Import ListNotations.
Open Scope R_scope.

Section Queries.
  Context {A : Type}.
  Variables (q_i q_k : A -> R) (P : list A). (* the scores of the two queries *)
  Hypothesis HP : P <> [].
  Notation w_i := (weight q_i P).
  Notation w_k := (weight q_k P).

  (* KL(w_i | w_k) *)
  Definition divergence : R := sum (fun z => w_i z * (ln (w_i z) - ln (w_k z))) P.

  Theorem gibbs : 0 <= divergence.
  Proof.
    unfold divergence.
    apply Rle_trans with (sum (fun z => w_i z - w_k z) P).
    - rewrite sum_minus, !weight_sum by exact HP. lra.
    - apply sum_le. intros z _.
      pose proof (weight_pos q_i P z HP) as Hi. pose proof (weight_pos q_k P z HP) as Hk.
      assert (Hx : 0 < w_k z / w_i z) by (apply Rdiv_lt_0_compat; assumption).
      pose proof (ln_le_minus_1 _ Hx) as E. unfold Rdiv in E at 1.
      rewrite ln_mult, ln_Rinv in E by (try apply Rinv_0_lt_compat; assumption).
      assert (F : w_i z * (ln (w_k z) + - ln (w_i z)) <= w_i z * (w_k z / w_i z - 1))
        by (apply Rmult_le_compat_l; lra).
      replace (w_i z * (w_k z / w_i z - 1)) with (w_k z - w_i z) in F by (field; lra). lra.
  Qed.

  Lemma divergence_from_masses :
    divergence = ln (mass q_k P) - ln (mass q_i P) + attention q_i (fun z => q_i z - q_k z) P.
  Proof.
    rewrite attention_weights. unfold divergence.
    rewrite (sum_ext _ (fun z => w_i z * (ln (mass q_k P) - ln (mass q_i P)) + w_i z * (q_i z - q_k z))).
    - rewrite sum_plus, sum_scale_r, weight_sum by exact HP. ring.
    - intros z _.
      rewrite (score_from_weight q_i P HP z), (score_from_weight q_k P HP z). ring.
  Qed.

  (* log S_k - log S_i + (q_i - q_k) . p-bar_i >= 0 *)
  Theorem divergence_inequality :
    0 <= ln (mass q_k P) - ln (mass q_i P) + attention q_i (fun z => q_i z - q_k z) P.
  Proof. rewrite <- divergence_from_masses. apply gibbs. Qed.

  (* 0 <= log S_i - q_i . p-bar_i <= log m_p *)
  Theorem entropy_inequality : 0 <= ln (mass q_i P) - attention q_i q_i P <= ln (INR (length P)).
  Proof.
    rewrite (prompt_law q_i P HP). pose proof (entropy_nonneg q_i P HP).
    pose proof (entropy_le_log_length q_i P HP). lra.
  Qed.
End Queries.
