(* Quantisation for d = m = 1 and p = 1: a function that is constant on the cells of a grid, within half a step of f at
   the centres, is within (delta/2) (L/2 + 1) of f in the mean.

   The cells are [j delta, (j + 1) delta], delta = 1/k; T j is the value on cell j. *)

From Coq Require Import Reals List Lra Lia Psatz.
From Coquelicot Require Import Coquelicot.
From PromptCert Require Import Sums.
Import ListNotations.
Open Scope R_scope.

(* Equations of real numbers that coquelicot writes in its own structures. *)
Ltac as_reals := match goal with |- ?a = ?b => change (@eq R a b) end.

Section Cell.
  (* One cell of width w around its centre. *)
  Variables (L w centre : R).
  Hypotheses (HL : 0 <= L) (Hw : 0 < w).
  Notation left := (centre - w / 2).
  Notation right := (centre + w / 2).

  Lemma integral_of_bound :
    is_RInt (fun x => L * Rabs (x - centre) + w / 2) left right (L * (w * w / 4) + w * (w / 2)).
  Proof.
    set (half := L * (w * w / 8) + w / 2 * (w / 2)).
    replace (L * (w * w / 4) + w * (w / 2)) with (half + half) by (unfold half; field).
    apply (@is_RInt_Chasles R_NormedModule _ left centre right half half); unfold half.
    - apply (is_RInt_ext (fun x => L * (centre - x) + w / 2)).
      + intros x Hx. rewrite Rmin_left, Rmax_right in Hx by lra. rewrite Rabs_left1 by lra. as_reals. ring.
      + evar_last.
        * apply (@is_RInt_derive R_CompleteNormedModule (fun x => - L * ((centre - x) * (centre - x) / 2) + w / 2 * x)).
          -- intros x _. auto_derive; [exact I|as_reals; field].
          -- intros x _. apply (ex_derive_continuous (fun x => L * (centre - x) + w / 2)). auto_derive. exact I.
        * unfold minus, plus, opp. simpl. as_reals. field.
    - apply (is_RInt_ext (fun x => L * (x - centre) + w / 2)).
      + intros x Hx. rewrite Rmin_left, Rmax_right in Hx by lra. rewrite Rabs_pos_eq by lra. as_reals. ring.
      + evar_last.
        * apply (@is_RInt_derive R_CompleteNormedModule (fun x => L * ((x - centre) * (x - centre) / 2) + w / 2 * x)).
          -- intros x _. auto_derive; [exact I|as_reals; field].
          -- intros x _. apply (ex_derive_continuous (fun x => L * (x - centre) + w / 2)). auto_derive. exact I.
        * unfold minus, plus, opp. simpl. as_reals. field.
  Qed.

  Lemma cell_error (f : R -> R) (T : R) :
    (forall x, left <= x <= right -> Rabs (f x - f centre) <= L * Rabs (x - centre)) ->
    ex_RInt (fun x => Rabs (f x - T)) left right ->
    Rabs (f centre - T) <= w / 2 ->
    RInt (fun x => Rabs (f x - T)) left right <= L * (w * w / 4) + w * (w / 2).
  Proof.
    intros Hf Hint HT. rewrite <- (is_RInt_unique _ _ _ _ integral_of_bound).
    apply RInt_le; [lra|exact Hint|eexists; apply integral_of_bound|].
    intros x Hx. replace (f x - T) with ((f x - f centre) + (f centre - T)) by ring.
    eapply Rle_trans; [apply Rabs_triang|]. specialize (Hf x ltac:(lra)). lra.
  Qed.
End Cell.

Section Grid.
  Variables (L : R) (k : nat) (f : R -> R) (T : nat -> R).
  Hypotheses (HL : 0 <= L) (Hk : (0 < k)%nat).
  Definition delta : R := / INR k.
  Definition centre (j : nat) : R := (INR j + 1 / 2) * delta.

  Hypothesis f_lipschitz : forall x y, 0 <= x <= 1 -> 0 <= y <= 1 -> Rabs (f x - f y) <= L * Rabs (x - y).
  Hypothesis T_near : forall j, (j < k)%nat -> Rabs (f (centre j) - T j) <= delta / 2.

  Lemma k_pos : 0 < INR k.
  Proof. apply lt_0_INR. exact Hk. Qed.

  Lemma cell_in_unit j x : (j < k)%nat -> centre j - delta / 2 <= x <= centre j + delta / 2 -> 0 <= x <= 1.
  Proof.
    intros Hj. unfold centre. pose proof k_pos. pose proof (pos_INR j).
    assert (Hd : 0 < delta) by (unfold delta; now apply Rinv_0_lt_compat).
    assert (INR j + 1 <= INR k) by (rewrite <- S_INR; apply le_INR; lia).
    assert (E : INR k * delta = 1) by (unfold delta; field; lra).
    assert ((INR j + 1) * delta <= INR k * delta) by (apply Rmult_le_compat_r; lra).
    assert (0 <= INR j * delta) by (apply Rmult_le_pos; lra). lra.
  Qed.

  (* sum over the cells of the integral of |f - T| <= (delta/2) (L/2 + 1) *)
  Theorem quantisation_bound :
    (forall j, (j < k)%nat -> ex_RInt (fun x => Rabs (f x - T j)) (centre j - delta / 2) (centre j + delta / 2)) ->
    sum (fun j => RInt (fun x => Rabs (f x - T j)) (centre j - delta / 2) (centre j + delta / 2)) (below k)
    <= delta / 2 * (L / 2 + 1).
  Proof.
    intros Hint. pose proof k_pos.
    assert (Hd : 0 < delta) by (unfold delta; now apply Rinv_0_lt_compat).
    apply Rle_trans with (sum (fun _ => L * (delta * delta / 4) + delta * (delta / 2)) (below k)).
    - apply sum_le. intros j Hj. apply in_below in Hj. apply cell_error; try assumption.
      + intros x Hx. apply f_lipschitz; [now apply (cell_in_unit j)|]. apply (cell_in_unit j); [exact Hj|lra].
      + now apply Hint.
      + now apply T_near.
    - rewrite sum_const. unfold below. rewrite seq_length.
      assert (E : INR k * delta = 1) by (unfold delta; field; lra).
      right. replace (INR k * (L * (delta * delta / 4) + delta * (delta / 2)))
        with (INR k * delta * (L * delta / 4 + delta / 2)) by field. rewrite E. field.
  Qed.

  (* A Lipschitz function on the whole line is integrable, so that nothing remains to be supposed. *)
  Lemma lipschitz_integrable (g : R -> R) a b t :
    (forall x y, Rabs (g x - g y) <= L * Rabs (x - y)) -> ex_RInt (fun x => Rabs (g x - t)) a b.
  Proof.
    intros Hg. apply (@ex_RInt_continuous R_CompleteNormedModule). intros x _.
    apply (continuous_comp (fun x => g x - t) Rabs); [|apply continuous_Rabs].
    apply (continuous_minus g (fun _ => t)); [|apply continuous_const].
    apply filterlim_locally. intros eps. destruct (Req_dec L 0) as [E|E].
    - exists eps. intros y _. unfold ball. simpl. unfold AbsRing_ball, abs, minus, plus, opp. simpl.
      specialize (Hg y x). rewrite E, Rmult_0_l in Hg. pose proof (cond_pos eps).
      replace (g y + - g x) with (g y - g x) by ring. lra.
    - assert (HLp : 0 < L) by lra.
      assert (Hpos : 0 < eps / L) by (apply Rdiv_lt_0_compat; [apply cond_pos|exact HLp]).
      exists (mkposreal _ Hpos). intros y Hy. unfold ball in *. simpl in *.
      unfold AbsRing_ball, abs, minus, plus, opp in *. simpl in *.
      replace (g y + - g x) with (g y - g x) by ring. replace (y + - x) with (y - x) in Hy by ring.
      eapply Rle_lt_trans; [apply Hg|].
      apply Rmult_lt_compat_l with (r := L) in Hy; [|exact HLp].
      replace (L * (eps / L)) with (pos eps) in Hy by (field; lra). exact Hy.
  Qed.
End Grid.

(* For a function that is L-Lipschitz on the line (extend one on [0, 1] by its values at the ends). *)
Corollary quantisation (L : R) (k : nat) (f : R -> R) (T : nat -> R) :
  0 <= L -> (0 < k)%nat -> (forall x y, Rabs (f x - f y) <= L * Rabs (x - y)) ->
  (forall j, (j < k)%nat -> Rabs (f (centre k j) - T j) <= delta k / 2) ->
  sum (fun j => RInt (fun x => Rabs (f x - T j)) (centre k j - delta k / 2) (centre k j + delta k / 2)) (below k)
  <= delta k / 2 * (L / 2 + 1).
Proof.
  intros HL Hk Hf HT. apply quantisation_bound; auto. intros j _. now apply (lipschitz_integrable L).
Qed.
