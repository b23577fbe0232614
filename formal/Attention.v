(* Attention of one query as a weighted sum over a list of tokens of any length.

   A head gives every token z a score (q . z, for its logit vector q) and a value. Whatever is said about the
   output of a head can be said about one real number at a time: a coordinate of it, or w . output. So the value
   of a token is a real number here. *)

From Coq Require Import Reals List Lra Lia.
From PromptCert Require Import Sums.
Import ListNotations.
Open Scope R_scope.

Section Attention.
  Context {A : Type}.
  Variable score : A -> R.

  (* S(Z): the sum of e^score over the tokens. *)
  Definition mass (Z : list A) : R := sum (fun z => exp (score z)) Z.

  (* B(Z): the sum of e^score times value. *)
  Definition weighted (value : A -> R) (Z : list A) : R := sum (fun z => exp (score z) * value z) Z.

  (* Att(Z): the softmax of the scores times the values. *)
  Definition attention (value : A -> R) (Z : list A) : R := weighted value Z / mass Z.

  (* The weight that softmax gives to a token of Z. *)
  Definition weight (Z : list A) (z : A) : R := exp (score z) / mass Z.

  Lemma mass_app P X : mass (P ++ X) = mass P + mass X.
  Proof. apply sum_app. Qed.

  Lemma weighted_app value P X : weighted value (P ++ X) = weighted value P + weighted value X.
  Proof. apply sum_app. Qed.

  Lemma mass_nonneg Z : 0 <= mass Z.
  Proof. apply sum_nonneg. intros z _. left. apply exp_pos. Qed.

  Lemma mass_pos Z : Z <> [] -> 0 < mass Z.
  Proof. intros H. apply sum_pos; [exact H|]. intros z _. apply exp_pos. Qed.

  Lemma attention_mass value Z : Z <> [] -> mass Z * attention value Z = weighted value Z.
  Proof. intros H. pose proof (mass_pos Z H). unfold attention. field. lra. Qed.

  Lemma attention_weights value Z : attention value Z = sum (fun z => weight Z z * value z) Z.
  Proof.
    unfold attention, weighted, Rdiv. rewrite <- sum_scale_r.
    apply sum_ext. intros z _. unfold weight, Rdiv. ring.
  Qed.

  Lemma weight_pos Z z : Z <> [] -> 0 < weight Z z.
  Proof. intros H. apply Rdiv_lt_0_compat; [apply exp_pos|apply mass_pos, H]. Qed.

  Lemma weight_sum Z : Z <> [] -> sum (weight Z) Z = 1.
  Proof.
    intros H. pose proof (mass_pos Z H). unfold weight, Rdiv.
    rewrite sum_scale_r. fold (mass Z). field. lra.
  Qed.

  Lemma weight_le_1 Z z : In z Z -> weight Z z <= 1.
  Proof.
    intros Hz. assert (Z <> []) by (intros ->; contradiction).
    rewrite <- (weight_sum Z) by assumption. apply term_le_sum; [|exact Hz].
    intros y _. left. now apply weight_pos.
  Qed.
End Attention.

(* Equal scores give equal masses, and so on: only the scores and values of the tokens present matter. *)
Lemma mass_ext {A} (s t : A -> R) Z : (forall z, In z Z -> s z = t z) -> mass s Z = mass t Z.
Proof. intros H. apply sum_ext. intros z Hz. now rewrite H. Qed.

Lemma weighted_ext {A} (s t u v : A -> R) Z :
  (forall z, In z Z -> s z = t z) -> (forall z, In z Z -> u z = v z) -> weighted s u Z = weighted t v Z.
Proof. intros H K. apply sum_ext. intros z Hz. now rewrite H, K. Qed.

Lemma attention_ext {A} (s t u v : A -> R) Z :
  (forall z, In z Z -> s z = t z) -> (forall z, In z Z -> u z = v z) -> attention s u Z = attention t v Z.
Proof.
  intros H K. unfold attention. rewrite (weighted_ext s t u v), (mass_ext s t); auto.
Qed.

(* Attention is linear in the values. *)
Lemma attention_sum {A B} (s : A -> R) (v : B -> A -> R) (l : list B) Z :
  attention s (fun z => sum (fun b => v b z) l) Z = sum (fun b => attention s (v b) Z) l.
Proof.
  unfold attention, Rdiv. rewrite sum_scale_r. f_equal. unfold weighted.
  rewrite sum_swap. apply sum_ext. intros z _. symmetry. apply sum_scale.
Qed.

Lemma attention_scale {A} (s : A -> R) c (v : A -> R) Z :
  attention s (fun z => c * v z) Z = c * attention s v Z.
Proof.
  unfold attention, weighted, Rdiv.
  rewrite (sum_ext _ (fun z => c * (exp (s z) * v z))) by (intros; ring).
  rewrite sum_scale. ring.
Qed.
