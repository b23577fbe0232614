(* Signs of sums of c e^q with rational c and q, by computation. *)

From Coq Require Import Reals List Lra Lia Psatz QArith Qreals Qround Qabs.
From PromptCert Require Import Sums Vectors Rational ExpEnclosure.
Import ListNotations.
Open Scope R_scope.

(* Rounding to multiples of 2^-bits. *)
Definition round_down (bits : positive) (x : Q) : Q := Qmake (Qfloor (x * inject_Z (Zpos (2 ^ bits)))) (2 ^ bits).
Definition round_up (bits : positive) (x : Q) : Q := Qopp (round_down bits (Qopp x)).

Lemma round_down_le bits x : real (round_down bits x) <= real x.
Proof.
  unfold round_down. set (p := (2 ^ bits)%positive).
  pose proof (Qfloor_le (x * inject_Z (Zpos p))) as H. apply Qle_Rle in H.
  rewrite Q2R_mult, !real_inject in H. unfold Q2R at 1. cbn [Qnum Qden].
  assert (0 < IZR (Zpos p)) by (apply IZR_lt; lia).
  apply Rmult_le_reg_r with (IZR (Zpos p)); [assumption|].
  rewrite Rmult_assoc, Rinv_l by (apply Rgt_not_eq; assumption). lra.
Qed.

Lemma round_up_ge bits x : real x <= real (round_up bits x).
Proof.
  unfold round_up. rewrite real_opp. pose proof (round_down_le bits (Qopp x)) as H. rewrite real_opp in H. lra.
Qed.

(* term + next terms, n of them, of the series of e^{-y}; term is (-y)^k / k!. *)
Fixpoint qtaylor_from (n : nat) (k : positive) (y term : Q) : Q :=
  match n with
  | O => term
  | S n' => qplus term (qtaylor_from n' (Pos.succ k) y (qmult term (qmult (Qopp y) (Qmake 1 k))))
  end.

Definition qtaylor (n : nat) (y : Q) : Q := qtaylor_from n 1 y 1.

Lemma below_S_end n : below (S n) = below n ++ [n].
Proof. unfold below. now rewrite seq_S. Qed.

Lemma qtaylor_from_real n : forall k y term,
  real term = (- real y) ^ k / INR (fact k) ->
  real (qtaylor_from n (Pos.of_succ_nat k) y term) = sum (fun j => (- real y) ^ j / INR (fact j)) (seq k (S n)).
Proof.
  induction n as [|n IH]; intros k y term H; cbn [qtaylor_from].
  - simpl. rewrite H. ring.
  - rewrite real_plus. change (seq k (S (S n))) with (k :: seq (S k) (S n)). cbn [sum]. rewrite <- H. f_equal.
    apply (IH (S k)). rewrite !real_mult, real_opp, H.
    replace (real (1 # Pos.of_succ_nat k)) with (/ INR (S k)).
    + rewrite fact_simpl, mult_INR. cbn [pow].
      pose proof (INR_fact_neq_0 k). assert (INR (S k) <> 0) by (apply not_0_INR; lia). field. split; assumption.
    + unfold Q2R. cbn [Qnum Qden]. rewrite Rmult_1_l. f_equal.
      rewrite <- positive_nat_Z, SuccNat2Pos.id_succ. now rewrite <- INR_IZR_INZ.
Qed.

Lemma qtaylor_real n y : real (qtaylor n y) = taylor n (real y).
Proof.
  unfold qtaylor. change 1%positive with (Pos.of_succ_nat 0). rewrite qtaylor_from_real; [reflexivity|].
  simpl. rewrite real_1. field.
Qed.

(* Bounds of e^{-y}, for y >= 0, by halving y until it is at most 1, then squaring as often. *)
Fixpoint lower_exp (halvings : nat) (bits : positive) (terms : nat) (y : Q) : Q :=
  match halvings with
  | O => qmax0 (qtaylor (2 * terms + 1) (round_up bits y))
  | S h => round_down bits (qsquare (lower_exp h bits terms (Qmult y (1 # 2))))
  end.

Fixpoint upper_exp (halvings : nat) (bits : positive) (terms : nat) (y : Q) : Q :=
  match halvings with
  | O => qtaylor (2 * terms) (qmax0 (round_down bits y))
  | S h => round_up bits (qsquare (upper_exp h bits terms (Qmult y (1 # 2))))
  end.

Lemma exp_neg_le x y : x <= y -> exp (- y) <= exp (- x).
Proof.
  intros [H| ->]; [|lra]. left. apply exp_increasing. lra.
Qed.

Lemma real_half y : real (Qmult y (1 # 2)) = real y / 2.
Proof. rewrite Q2R_mult. unfold Q2R at 2. simpl. field. Qed.

Lemma round_down_nonneg bits x : 0 <= real x -> 0 <= real (round_down bits x).
Proof.
  intros H. unfold round_down. set (p := (2 ^ bits)%positive).
  assert (F : (0 <= Qfloor (x * inject_Z (Zpos p)))%Z).
  { change 0%Z with (Qfloor 0). apply Qfloor_resp_le. apply Rle_Qle. rewrite Q2R_mult, real_0, real_inject.
    apply Rmult_le_pos; [exact H|apply IZR_le; lia]. }
  unfold Q2R. cbn [Qnum Qden]. apply Rmult_le_pos; [now apply IZR_le|].
  left. apply Rinv_0_lt_compat. apply IZR_lt. lia.
Qed.

Lemma lower_exp_bound h bits terms : forall y, 0 <= real y -> 0 <= real (lower_exp h bits terms y) <= exp (- real y).
Proof.
  induction h as [|h IH]; intros y Hy; cbn [lower_exp].
  - rewrite real_max0, qtaylor_real. pose proof (round_up_ge bits y) as Hr.
    pose proof (taylor_encloses terms (real (round_up bits y)) ltac:(lra)) as [H _].
    pose proof (exp_neg_le _ _ Hr). pose proof (exp_pos (- real y)).
    split; [apply Rmax_l|]. apply Rmax_lub; lra.
  - specialize (IH (y * (1 # 2))%Q). rewrite real_half in IH. specialize (IH ltac:(lra)).
    split.
    + apply round_down_nonneg. unfold qsquare. rewrite real_mult. nra.
    + eapply Rle_trans; [apply round_down_le|]. unfold qsquare. rewrite real_mult.
      replace (real y) with (2 * (real y / 2)) by field. rewrite exp_neg_double. nra.
Qed.

Lemma upper_exp_bound h bits terms : forall y, 0 <= real y -> exp (- real y) <= real (upper_exp h bits terms y).
Proof.
  induction h as [|h IH]; intros y Hy; cbn [upper_exp].
  - rewrite qtaylor_real. set (z := qmax0 (round_down bits y)).
    assert (Hz : 0 <= real z <= real y).
    { unfold z. rewrite real_max0. pose proof (round_down_le bits y). split; [apply Rmax_l|apply Rmax_lub; lra]. }
    pose proof (taylor_encloses terms (real z) ltac:(lra)) as [_ H].
    pose proof (exp_neg_le (real z) (real y) ltac:(lra)). lra.
  - eapply Rle_trans; [|apply round_up_ge]. unfold qsquare. rewrite real_mult.
    specialize (IH (y * (1 # 2))%Q). rewrite real_half in IH. specialize (IH ltac:(lra)).
    replace (real y) with (2 * (real y / 2)) by field. rewrite exp_neg_double.
    pose proof (exp_pos (- (real y / 2))). nra.
Qed.

(* How often y has to be halved to be at most 1. *)
Definition halvings (y : Q) : nat := Z.to_nat (Z.log2_up (Qceiling y)).

(* Exponential sums: pairs of a coefficient and an exponent. *)
Definition expsum : Type := list (Q * Q).

Definition value_of (terms : expsum) : R := sum (fun t => real (fst t) * exp (real (snd t))) terms.

Lemma value_of_app s t : value_of (s ++ t) = value_of s + value_of t.
Proof. apply sum_app. Qed.

Definition scaled (a : Q) (terms : expsum) : expsum := map (fun t => (qmult a (fst t), snd t)) terms.

Lemma value_of_scaled a terms : value_of (scaled a terms) = real a * value_of terms.
Proof.
  unfold value_of, scaled. rewrite sum_map, <- sum_scale. apply sum_ext. intros t _. cbn [fst snd].
  rewrite real_mult. ring.
Qed.

(* Terms with equal exponents are added. *)
Fixpoint insert (c q : Q) (terms : expsum) : expsum :=
  match terms with
  | [] => [(c, q)]
  | (c', q') :: rest => if Qeq_bool q q' then (qplus c c', q') :: rest else (c', q') :: insert c q rest
  end.

Fixpoint collected (terms : expsum) : expsum :=
  match terms with
  | [] => []
  | (c, q) :: rest => insert c q (collected rest)
  end.

Lemma insert_value c q terms : value_of (insert c q terms) = real c * exp (real q) + value_of terms.
Proof.
  unfold value_of. induction terms as [|[c' q'] rest IH]; simpl; [ring|].
  destruct (Qeq_bool q q') eqn:E; simpl.
  - rewrite (Qeq_bool_real _ _ E), real_plus. ring.
  - rewrite IH. ring.
Qed.

Lemma collected_value terms : value_of (collected terms) = value_of terms.
Proof.
  induction terms as [|[c q] rest IH]; simpl; [reflexivity|]. rewrite insert_value, IH. reflexivity.
Qed.

(* A lower bound of the sum divided by e^top, for top at or above all exponents. *)
Definition term_lower (bits : positive) (terms : nat) (top : Q) (t : Q * Q) : Q :=
  let y := qminus top (snd t) in
  let bound := if qle 0 (fst t) then lower_exp (halvings y) bits terms y else upper_exp (halvings y) bits terms y in
  qmult (fst t) bound.

Definition top_of (terms : expsum) : Q :=
  fold_right (fun t top => if qle top (snd t) then snd t else top) (snd (hd (0%Q, 0%Q) terms)) terms.

Definition surely_positive (bits : positive) (terms : nat) (s : expsum) : bool :=
  let top := top_of s in
  forallb (fun t => qle (snd t) top) s && qlt 0 (qsum (term_lower bits terms top) s).

Lemma surely_positive_sound bits n s : surely_positive bits n s = true -> 0 < value_of s.
Proof.
  unfold surely_positive. intros H. apply andb_prop in H. destruct H as [Ht H].
  set (top := top_of s) in *. apply qlt_0 in H. rewrite real_sum in H. rewrite forallb_forall in Ht.
  assert (E : sum (fun t => real (term_lower bits n top t)) s <= value_of s * exp (- real top)).
  { unfold value_of. rewrite <- sum_scale_r. apply sum_le. intros [c q] Hin. specialize (Ht _ Hin).
    apply qle_real in Ht. cbn [fst snd] in *. unfold term_lower. cbn [fst snd].
    rewrite Rmult_assoc, <- exp_plus, real_mult.
    set (y := qminus top q).
    assert (Ey : real y = real top - real q) by apply real_minus.
    replace (real q + - real top) with (- real y) by lra.
    destruct (qle 0 c) eqn:Hc.
    - apply qle_0 in Hc. apply Rmult_le_compat_l; [exact Hc|]. apply lower_exp_bound. lra.
    - assert (real c <= 0).
      { left. rewrite <- real_0. apply qlt_real. unfold qlt, qle in *. now rewrite Hc. }
      pose proof (upper_exp_bound (halvings y) bits n y ltac:(lra)). nra. }
  pose proof (exp_pos (- real top)). nra.
Qed.

(* The two tests: by the signs of the coefficients, else by the bounds, one precision after the other. *)
Record precision := Precision { bits : positive; series_terms : nat }.

Definition standard_precisions : list precision := [Precision 64 12; Precision 128 20; Precision 256 40].

Definition negated (s : expsum) : expsum := map (fun t => (Qopp (fst t), snd t)) s.

(* Once the sum is seen to be negative, more precision will not help. *)
Fixpoint surely_positive_at_some (ps : list precision) (s : expsum) : bool :=
  match ps with
  | [] => false
  | p :: rest =>
      if surely_positive (bits p) (series_terms p) s then true
      else if surely_positive (bits p) (series_terms p) (negated s) then false
      else surely_positive_at_some rest s
  end.

Definition without_zeros (s : expsum) : expsum := filter (fun t => negb (Qeq_bool (fst t) 0)) (collected s).
Definition no_negative (s : expsum) : bool := forallb (fun t => qle 0 (fst t)) s.

Definition positive_sum (ps : list precision) (s : expsum) : bool :=
  let s := without_zeros s in
  match s with
  | [] => false
  | _ => if no_negative s then existsb (fun t => qlt 0 (fst t)) s else surely_positive_at_some ps s
  end.

Definition nonneg_sum (ps : list precision) (s : expsum) : bool :=
  if no_negative (without_zeros s) then true else positive_sum ps s.

Lemma filtered_value s : value_of (filter (fun t => negb (Qeq_bool (fst t) 0)) s) = value_of s.
Proof.
  unfold value_of. induction s as [|[c q] s IH]; simpl; [reflexivity|].
  destruct (Qeq_bool c 0) eqn:E; simpl; rewrite IH; [|reflexivity].
  rewrite (Qeq_bool_real _ _ E), real_0. ring.
Qed.

Lemma without_zeros_value s : value_of (without_zeros s) = value_of s.
Proof. unfold without_zeros. rewrite filtered_value. apply collected_value. Qed.

Lemma nonneg_terms s : no_negative s = true -> 0 <= value_of s.
Proof.
  unfold no_negative. rewrite forallb_forall. intros H. apply sum_nonneg. intros t Ht. specialize (H t Ht).
  apply qle_0 in H. pose proof (exp_pos (real (snd t))). nra.
Qed.

Lemma surely_positive_at_some_sound ps s : surely_positive_at_some ps s = true -> 0 < value_of s.
Proof.
  induction ps as [|p ps IH]; simpl; [discriminate|].
  destruct (surely_positive (bits p) (series_terms p) s) eqn:E.
  - intros _. now apply surely_positive_sound in E.
  - destruct (surely_positive (bits p) (series_terms p) (negated s)); [discriminate|exact IH].
Qed.

Theorem positive_sum_sound ps s : positive_sum ps s = true -> 0 < value_of s.
Proof.
  unfold positive_sum. rewrite <- (without_zeros_value s). destruct (without_zeros s) as [|t0 t]; [discriminate|].
  set (u := t0 :: t). destruct (no_negative u) eqn:N; [|apply surely_positive_at_some_sound].
  intros H. unfold no_negative in N. rewrite forallb_forall in N.
  apply existsb_exists in H. destruct H as [v [Hv H]]. apply qlt_0 in H.
  apply Rlt_le_trans with (real (fst v) * exp (real (snd v))).
  - pose proof (exp_pos (real (snd v))). nra.
  - unfold value_of. apply (term_le_sum (fun t => real (fst t) * exp (real (snd t)))); [|exact Hv].
    intros x Hx. specialize (N x Hx). apply qle_0 in N. pose proof (exp_pos (real (snd x))). nra.
Qed.

Theorem nonneg_sum_sound ps s : nonneg_sum ps s = true -> 0 <= value_of s.
Proof.
  unfold nonneg_sum. destruct (no_negative (without_zeros s)) eqn:N.
  - intros _. rewrite <- (without_zeros_value s). now apply nonneg_terms.
  - intros H. left. now apply positive_sum_sound in H.
Qed.
