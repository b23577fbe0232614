(* Rational bounds of the exponential function: the partial sums of the series of e^{-y}, y >= 0, are above and below
   e^{-y} in turns; with halving and squaring they are good for every y. *)

From Coq Require Import Reals List Lra Lia Psatz.
From Coquelicot Require Import Coquelicot.
From PromptCert Require Import Sums.
Import ListNotations.
Open Scope R_scope.

(* The terms (-y)^k / k! for k <= n. *)
Definition taylor (n : nat) (y : R) : R := sum (fun k => (- y) ^ k / INR (fact k)) (below (S n)).

Lemma below_S n : below (S n) = 0%nat :: map S (below n).
Proof. unfold below. simpl. f_equal. symmetry. apply seq_shift. Qed.

Lemma taylor_at_0 n : taylor n 0 = 1.
Proof.
  unfold taylor. rewrite below_S. cbn [sum]. rewrite sum_map, sum_zero.
  - simpl. field.
  - intros k _. rewrite Ropp_0, pow_i by lia. unfold Rdiv. ring.
Qed.

Lemma is_derive_sum {B} (F F' : B -> R -> R) (l : list B) y :
  (forall b, is_derive (F b) y (F' b y)) ->
  is_derive (fun t => sum (fun b => F b t) l) y (sum (fun b => F' b y) l).
Proof.
  intros H. induction l as [|b l IH]; simpl.
  - apply (is_derive_const 0).
  - apply (is_derive_plus (F b) (fun t => sum (fun b => F b t) l) y); [apply H|exact IH].
Qed.

Lemma taylor_derive n y : is_derive (taylor (S n)) y (- taylor n y).
Proof.
  unfold taylor at 1. apply (is_derive_ext (fun t => 1 + sum (fun k => (- t) ^ (S k) / INR (fact (S k))) (below (S n)))).
  - intros t. rewrite (below_S (S n)). cbn [sum]. rewrite sum_map.
    replace ((- t) ^ 0 / INR (fact 0)) with 1 by (simpl; field). reflexivity.
  - replace (- taylor n y) with (0 + sum (fun k => - ((- y) ^ k / INR (fact k))) (below (S n))).
    + apply (is_derive_plus (fun _ => 1)); [apply (is_derive_const 1)|].
      apply (is_derive_sum (fun k t => (- t) ^ (S k) / INR (fact (S k))) (fun k t => - ((- t) ^ k / INR (fact k)))).
      intros k.
      assert (Hk : INR (fact k) <> 0) by apply INR_fact_neq_0.
      assert (HS : INR (S k) <> 0) by (apply not_0_INR; lia).
      rewrite fact_simpl, mult_INR.
      remember (INR (fact k)) as a eqn:Ea. remember (INR (S k)) as b eqn:Eb.
      auto_derive; [exact I|].
      change (match k with 0%nat => 1 | S _ => INR k + 1 end) with (INR (S k)). rewrite <- Eb.
      simpl pred. field. split; assumption.
    + unfold taylor. rewrite (sum_ext _ (fun k => (-1) * ((- y) ^ k / INR (fact k)))) by (intros; ring).
      rewrite sum_scale. ring.
Qed.

Lemma exp_neg_derive y : is_derive (fun t => exp (- t)) y (- exp (- y)).
Proof. auto_derive; [exact I|ring]. Qed.

(* A function that is 0 at 0 and does not fall is not negative. *)
Lemma nonneg_from_derivative (f f' : R -> R) :
  f 0 = 0 -> (forall y, is_derive f y (f' y)) -> (forall y, 0 <= y -> 0 <= f' y) -> forall y, 0 <= y -> 0 <= f y.
Proof.
  intros H0 Hd Hp y Hy. destruct (MVT_gen f 0 y f') as [c [Hc E]].
  - intros; apply Hd.
  - intros x _. apply continuity_pt_filterlim. apply (ex_derive_continuous f). eexists. apply Hd.
  - rewrite H0, !Rminus_0_r in E. rewrite E. rewrite Rmin_left in Hc by exact Hy.
    apply Rmult_le_pos; [apply Hp; lra|exact Hy].
Qed.

Theorem taylor_encloses n y : 0 <= y -> taylor (2 * n + 1) y <= exp (- y) <= taylor (2 * n) y.
Proof.
  assert (below_step : forall k, (forall t, 0 <= t -> exp (- t) <= taylor k t) ->
                       forall t, 0 <= t -> taylor (S k) t <= exp (- t)).
  { intros k H t Ht.
    pose proof (nonneg_from_derivative (fun t => exp (- t) - taylor (S k) t) (fun t => taylor k t - exp (- t))) as N.
    assert (0 <= exp (- t) - taylor (S k) t); [|lra]. apply N; [| | |exact Ht].
    - rewrite taylor_at_0, Ropp_0, exp_0. ring.
    - intros u. replace (taylor k u - exp (- u)) with (- exp (- u) - (- taylor k u)) by ring.
      apply (is_derive_minus (fun t => exp (- t)) (taylor (S k)) u); [apply exp_neg_derive|apply taylor_derive].
    - intros u Hu. specialize (H u Hu). lra. }
  assert (above_step : forall k, (forall t, 0 <= t -> taylor k t <= exp (- t)) ->
                       forall t, 0 <= t -> exp (- t) <= taylor (S k) t).
  { intros k H t Ht.
    pose proof (nonneg_from_derivative (fun t => taylor (S k) t - exp (- t)) (fun t => exp (- t) - taylor k t)) as N.
    assert (0 <= taylor (S k) t - exp (- t)); [|lra]. apply N; [| | |exact Ht].
    - rewrite taylor_at_0, Ropp_0, exp_0. ring.
    - intros u. replace (exp (- u) - taylor k u) with (- taylor k u - (- exp (- u))) by ring.
      apply (is_derive_minus (taylor (S k)) (fun t => exp (- t)) u); [apply taylor_derive|apply exp_neg_derive].
    - intros u Hu. specialize (H u Hu). lra. }
  assert (above : forall t, 0 <= t -> exp (- t) <= taylor (2 * n) t).
  { induction n as [|n IH].
    - intros t Ht. unfold taylor, below. simpl. replace (1 / 1 + 0) with 1 by field.
      rewrite <- exp_0. destruct (Req_dec t 0) as [->|]; [rewrite Ropp_0; lra|]. left. apply exp_increasing. lra.
    - replace (2 * S n)%nat with (S (S (2 * n))) by lia. apply above_step, below_step, IH. }
  intros Hy. split; [|now apply above].
  replace (2 * n + 1)%nat with (S (2 * n)) by lia. now apply below_step.
Qed.

(* e^{-2y} = (e^{-y})^2, so bounds are squared. *)
Lemma exp_neg_double y : exp (- (2 * y)) = exp (- y) * exp (- y).
Proof. rewrite <- exp_plus. f_equal. ring. Qed.
