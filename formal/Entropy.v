(* The converse of the prompt law, complete: weights of every entropy in (0, log m] exist, and so does the prompt. *)

From Coq Require Import Reals List Lra Lia Psatz Ranalysis5.
From Coquelicot Require Import Coquelicot.
From PromptCert Require Import Sums Attention PromptLaw.
Import ListNotations.
Open Scope R_scope.

(* One weight t, and what is left in equal parts. *)
Section TwoLevels.
  Variable m : nat.
  Hypothesis Hm : (2 <= m)%nat.
  Notation rest := (INR (m - 1)).

  Definition two_levels (t : R) : list R := t :: repeat ((1 - t) / rest) (m - 1).
  Definition entropy_at (t : R) : R := - (t * ln t) - (1 - t) * ln ((1 - t) / rest).

  Lemma rest_at_least_1 : 1 <= rest.
  Proof. replace 1 with (INR 1) by reflexivity. apply le_INR. lia. Qed.

  Lemma INR_m : INR m = rest + 1.
  Proof. rewrite minus_INR by lia. simpl (INR 1). ring. Qed.

  Lemma sum_repeat (f : R -> R) x n : sum f (repeat x n) = INR n * f x.
  Proof. induction n as [|n IH]; [simpl; ring|]. cbn [repeat sum]. rewrite IH, S_INR. ring. Qed.

  Lemma two_levels_length t : length (two_levels t) = m.
  Proof. unfold two_levels. cbn [length]. rewrite repeat_length. lia. Qed.

  Lemma two_levels_sum t : sum (fun x => x) (two_levels t) = 1.
  Proof. unfold two_levels. cbn [sum]. rewrite sum_repeat. pose proof rest_at_least_1. field. lra. Qed.

  Lemma two_levels_entropy t : entropy_of_weights (two_levels t) = entropy_at t.
  Proof.
    unfold entropy_of_weights, two_levels, entropy_at. cbn [sum]. rewrite sum_repeat.
    pose proof rest_at_least_1. field. lra.
  Qed.

  Lemma two_levels_positive t : 0 < t < 1 -> forall x, In x (two_levels t) -> 0 < x.
  Proof.
    intros Ht x [<-|Hx]; [lra|]. apply repeat_spec in Hx. subst x. pose proof rest_at_least_1.
    apply Rdiv_lt_0_compat; lra.
  Qed.

  (* The uniform law has entropy log m. *)
  Lemma entropy_uniform : entropy_at (/ INR m) = ln (INR m).
  Proof.
    unfold entropy_at. pose proof rest_at_least_1. pose proof INR_m as E.
    replace ((1 - / INR m) / rest) with (/ INR m) by (rewrite E; field; lra).
    rewrite ln_Rinv by lra. rewrite E. field. lra.
  Qed.

  (* Close to a point the entropy is small: at t = 1 - v^2 at most v (m + 2). *)
  Lemma entropy_near_point v : 0 < v <= / 2 -> entropy_at (1 - v * v) <= v * (INR m + 2).
  Proof.
    intros Hv. pose proof rest_at_least_1 as Hr. pose proof INR_m as E. unfold entropy_at.
    assert (Ht : 3 / 4 <= 1 - v * v < 1) by nra.
    assert (A : - ((1 - v * v) * ln (1 - v * v)) <= v * v).
    { assert (Hi : 0 < / (1 - v * v)) by (apply Rinv_0_lt_compat; lra).
      pose proof (ln_le_minus_1 _ Hi) as L. rewrite ln_Rinv in L by lra.
      assert ((1 - v * v) * - ln (1 - v * v) <= (1 - v * v) * (/ (1 - v * v) - 1)) by (apply Rmult_le_compat_l; lra).
      replace ((1 - v * v) * (/ (1 - v * v) - 1)) with (v * v) in H by (field; lra). lra. }
    replace (1 - (1 - v * v)) with (v * v) by ring.
    assert (B : - (v * v * ln (v * v / rest)) <= v * v * (rest - 1) + 2 * v * (1 - v)).
    { unfold Rdiv. assert (0 < / rest) by (apply Rinv_0_lt_compat; lra).
      rewrite ln_mult, ln_mult, ln_Rinv by (try assumption; nra).
      pose proof (ln_le_minus_1 rest ltac:(lra)) as L1.
      assert (Hi : 0 < / v) by (apply Rinv_0_lt_compat; lra).
      pose proof (ln_le_minus_1 _ Hi) as L2. rewrite ln_Rinv in L2 by lra.
      assert (X1 : v * v * ln rest <= v * v * (rest - 1)) by (apply Rmult_le_compat_l; nra).
      assert (X2 : v * v * - ln v <= v * v * (/ v - 1)) by (apply Rmult_le_compat_l; nra).
      replace (v * v * (/ v - 1)) with (v * (1 - v)) in X2 by (field; lra). lra. }
    assert (v * v * (rest - 1) <= v * (rest - 1)) by (apply Rmult_le_compat_r; nra).
    nra.
  Qed.

  Lemma entropy_at_continuous H t : 0 < t < 1 -> continuity_pt (fun t => H - entropy_at t) t.
  Proof.
    intros Ht. apply derivable_continuous_pt, ex_derive_Reals_0. unfold entropy_at.
    pose proof rest_at_least_1. assert (0 < (1 - t) * / rest).
    { apply Rmult_lt_0_compat; [lra|]. apply Rinv_0_lt_compat. lra. }
    auto_derive. repeat split; lra || assumption.
  Qed.

  Theorem every_entropy H : 0 < H <= ln (INR m) ->
    exists w, length w = m /\ (forall x, In x w -> 0 < x) /\ sum (fun x => x) w = 1 /\ entropy_of_weights w = H.
  Proof.
    intros [H0 H1]. pose proof rest_at_least_1 as Hr. pose proof INR_m as E.
    assert (Hu : 0 < / INR m <= / 2).
    { split; [apply Rinv_0_lt_compat; lra|]. apply Rinv_le_contravar; lra. }
    enough (exists t, 0 < t < 1 /\ entropy_at t = H) as [t [Ht Et]].
    { exists (two_levels t). repeat split; [apply two_levels_length|now apply two_levels_positive|apply two_levels_sum|].
      now rewrite two_levels_entropy. }
    destruct (Req_dec H (ln (INR m))) as [->|Hne].
    { exists (/ INR m). split; [lra|apply entropy_uniform]. }
    set (v := Rmin (/ 2) (H / (2 * (INR m + 2)))).
    assert (Hp : 0 < H / (2 * (INR m + 2))) by (apply Rdiv_lt_0_compat; lra).
    assert (Hv : 0 < v <= / 2) by (unfold v; split; [apply Rmin_glb_lt; lra|apply Rmin_l]).
    assert (Hv2 : v * (INR m + 2) <= H / 2).
    { apply Rle_trans with (H / (2 * (INR m + 2)) * (INR m + 2)).
      - apply Rmult_le_compat_r; [lra|apply Rmin_r].
      - right. field. lra. }
    destruct (IVT_interv (fun t => H - entropy_at t) (/ INR m) (1 - v * v)) as [t [Ht Et]].
    - intros a Ha. apply entropy_at_continuous. nra.
    - nra.
    - rewrite entropy_uniform. lra.
    - pose proof (entropy_near_point v Hv). lra.
    - exists t. split; [nra|lra].
  Qed.
End TwoLevels.

(* The prompt law's converse: all (p-bar, S) with 0 < log S - q . p-bar <= log m come from a prompt of m tokens, m >= 2. *)
Theorem prompt_law_converse (coordinates : list nat) (q mean : nat -> R) (S : R) (m : nat) :
  (2 <= m)%nat -> dot coordinates q q <> 0 -> 0 < S ->
  0 < ln S - dot coordinates q mean <= ln (INR m) ->
  exists P : list (nat -> R), length P = m /\ mass (dot coordinates q) P = S
                              /\ forall c, attention (dot coordinates q) (fun p => p c) P = mean c.
Proof.
  intros Hm Hq HS HH. destruct (every_entropy m Hm _ HH) as [w [Hl [Hw [Hsum He]]]].
  exists (prompt coordinates q mean S w). split; [|split].
  - rewrite converse_length. exact Hl.
  - now apply converse_mass.
  - intros c. apply converse_mean; try assumption. lra.
Qed.
