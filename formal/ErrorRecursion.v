(* The softmax network: how far a softmax head is from hardmax, and how errors of ids add up through the sweep.

   c codes of a column, rho the bound of a head's error, K layers of which n lift a column. *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums Attention.
Import ListNotations.
Open Scope R_scope.

(* One token leads by tau in score, and its value is the largest, by at most r: the head returns its value up to
   r e^{-tau} for every other token. *)
Theorem softmax_near_hardmax {A : Type} (score value : A -> R) (front back : list A) (z_0 : A) (tau r : R) :
  (forall z, In z front \/ In z back -> score z <= score z_0 - tau /\ 0 <= value z_0 - value z <= r) ->
  0 <= value z_0 - attention score value (front ++ z_0 :: back)
    <= INR (length front + length back) * r * exp (- tau).
Proof.
  intros H. set (Z := front ++ z_0 :: back).
  assert (HZ : Z <> []) by (unfold Z; destruct front; discriminate).
  assert (E : value z_0 - attention score value Z = sum (fun z => weight score Z z * (value z_0 - value z)) Z).
  { rewrite (sum_ext _ (fun z => weight score Z z * value z_0 - weight score Z z * value z)) by (intros; ring).
    rewrite sum_minus, sum_scale_r, weight_sum, attention_weights by exact HZ. ring. }
  rewrite E. unfold Z at 2 4. rewrite !sum_app. cbn [sum].
  replace (value z_0 - value z_0) with 0 by ring. rewrite Rmult_0_r, Rplus_0_l.
  assert (W : forall z, In z front \/ In z back ->
              0 <= weight score Z z * (value z_0 - value z) <= r * exp (- tau)).
  { intros z Hz. destruct (H z Hz) as [Hs Hv].
    pose proof (weight_pos score Z z HZ) as Wp.
    assert (Wl : weight score Z z <= exp (- tau)).
    { unfold weight. apply Rmult_le_reg_r with (mass score Z); [now apply mass_pos|].
      unfold Rdiv. rewrite Rmult_assoc, Rinv_l by (apply Rgt_not_eq, mass_pos, HZ). rewrite Rmult_1_r.
      assert (M : exp (score z_0) <= mass score Z).
      { apply (term_le_sum (fun z => exp (score z))); [intros; left; apply exp_pos|].
        unfold Z. apply in_or_app. right. left. reflexivity. }
      assert (X : exp (score z) <= exp (- tau) * exp (score z_0)).
      { rewrite <- exp_plus. destruct (Req_dec (score z) (- tau + score z_0)) as [->|]; [lra|].
        left. apply exp_increasing. lra. }
      pose proof (exp_pos (- tau)). nra. }
    split; [apply Rmult_le_pos; lra|].
    pose proof (exp_pos (- tau)). apply Rle_trans with (exp (- tau) * r); [|lra].
    apply Rmult_le_compat; lra. }
  rewrite plus_INR.
  assert (B : forall l : list A, (forall z, In z l -> In z front \/ In z back) ->
              0 <= sum (fun z => weight score Z z * (value z_0 - value z)) l <= INR (length l) * (r * exp (- tau))).
  { intros l Hl. split.
    - apply sum_nonneg. intros z Hz. apply W. auto.
    - rewrite <- sum_const. apply sum_le. intros z Hz. apply W. auto. }
  pose proof (B front (fun z Hz => or_introl Hz)). pose proof (B back (fun z Hz => or_intror Hz)). lra.
Qed.

(* Layer by layer: a layer that lifts no column adds c rho, one that does takes e to (2c - 1) e + 2 c rho. *)
Fixpoint lifts (layers : list bool) : nat :=
  match layers with
  | [] => 0%nat
  | b :: rest => ((if b then 1 else 0) + lifts rest)%nat
  end.

Section Sweep.
  Variables (c rho : R).
  Hypotheses (Hc : 1 <= c) (Hrho : 0 <= rho).

  Definition next (b : bool) (e : R) : R := if b then (2 * c - 1) * e + 2 * c * rho else e + c * rho.

  (* The errors e_0, e_1, ... that the layers can lead to. *)
  Fixpoint bounded_by_layers (layers : list bool) (e_0 e : R) : Prop :=
    match layers with
    | [] => e <= e_0
    | b :: rest => exists e_1, 0 <= e_1 <= next b e_0 /\ bounded_by_layers rest e_1 e
    end.

  Lemma sweep_from layers : forall e_0 e, 0 <= e_0 -> bounded_by_layers layers e_0 e ->
    e <= (2 * c - 1) ^ lifts layers * (e_0 + c * rho * (INR (length layers) + INR (lifts layers))).
  Proof.
    induction layers as [|b layers IH]; intros e_0 e H0 H.
    - simpl in *. lra.
    - destruct H as [e_1 [[H1 H2] Hrest]]. specialize (IH e_1 e H1 Hrest).
      eapply Rle_trans; [exact IH|]. clear IH Hrest e.
      cbn [length lifts]. rewrite S_INR.
      assert (P : 0 < (2 * c - 1) ^ lifts layers) by (apply pow_lt; lra).
      pose proof (pos_INR (length layers)). pose proof (pos_INR (lifts layers)).
      assert (0 <= c * rho) by nra.
      destruct b; unfold next in H2.
      + rewrite plus_INR. simpl (INR 1). cbn [Nat.add pow].
        set (N := c * rho * (INR (length layers) + INR (lifts layers))).
        apply Rle_trans with ((2 * c - 1) ^ lifts layers * ((2 * c - 1) * (e_0 + N + 2 * (c * rho)))).
        * apply Rmult_le_compat_l; [lra|]. assert (0 <= N) by (unfold N; nra). nra.
        * right. unfold N. ring.
      + simpl Nat.add. apply Rmult_le_compat_l; [lra|]. nra.
  Qed.

  (* After the sweep: e <= (2c - 1)^n c (K + n) rho. *)
  Theorem sweep_error layers e : bounded_by_layers layers 0 e ->
    e <= (2 * c - 1) ^ lifts layers * (c * (INR (length layers) + INR (lifts layers)) * rho).
  Proof.
    intros H. apply sweep_from in H; [|lra]. rewrite Rplus_0_l in H.
    replace (c * (INR (length layers) + INR (lifts layers)) * rho)
      with (c * rho * (INR (length layers) + INR (lifts layers))) by ring. exact H.
  Qed.
End Sweep.

(* The global shift: l + G max, the max off by rho. *)
Theorem shift_error (G e rho id id' top top' : R) :
  0 <= G -> Rabs (id - id') <= e -> Rabs (top - top') <= e + rho ->
  Rabs ((id + G * top) - (id' + G * top')) <= (1 + G) * e + G * rho.
Proof.
  intros HG H1 H2. replace (id + G * top - (id' + G * top')) with ((id - id') + G * (top - top')) by ring.
  eapply Rle_trans; [apply Rabs_triang|]. rewrite Rabs_mult, (Rabs_pos_eq G HG).
  assert (G * Rabs (top - top') <= G * (e + rho)) by (apply Rmult_le_compat_l; lra). lra.
Qed.
