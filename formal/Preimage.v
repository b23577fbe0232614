(* Which z the MLP maps to a given y: bounds by multipliers, and uniqueness by a positive definite matrix.

   With u = W_1 z + b_1 and h = ReLU(u), MLP(z) = y says z = y - b_2 - W_2 h, hence u = c - W_1 W_2 h for
   c = W_1 (y - b_2) + b_1. A unit i is active where h_i = u_i and inactive where h_i = 0. *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums Vectors Layer.
Import ListNotations.
Open Scope R_scope.

Section Preimage.
  Variables (d : nat) (m : mlp R) (y : vector R).
  Notation r := (units m).

  Definition maps_to (z : vector R) : Prop := forall c, (c < d)%nat -> mlp_output d m z c = y c.

  Definition shifted : vector R := fun c => y c - b_2 m c.
  Definition constant_term : vector R := pre_activation d m shifted.
  Definition hidden (z : vector R) : vector R := fun i => relu (pre_activation d m z i).

  Lemma preimage_equation z :
    maps_to z -> forall c, (c < d)%nat -> z c = shifted c - apply r (W_2 m) (hidden z) c.
  Proof. intros H c Hc. specialize (H c Hc). unfold mlp_output in H. unfold shifted, hidden. lra. Qed.

  Lemma pre_activation_equation z : maps_to z -> forall i,
    pre_activation d m z i = constant_term i - apply d (W_1 m) (apply r (W_2 m) (hidden z)) i.
  Proof.
    intros H i. unfold constant_term, pre_activation, apply at 1 2.
    rewrite (dot_ext d (W_1 m i) z (W_1 m i) (fun c => shifted c - apply r (W_2 m) (hidden z) c));
      [|reflexivity|apply preimage_equation, H].
    rewrite dot_minus_r. unfold apply. ring.
  Qed.

  Lemma hidden_nonneg z i : 0 <= hidden z i.
  Proof. apply Rmax_l. Qed.

  Lemma hidden_above z i : pre_activation d m z i <= hidden z i.
  Proof. apply Rmax_r. Qed.

  (* Signs fixed for some units, as on a leaf of a tree: true is active. *)
  Definition has_signs (signs : list (nat * bool)) (z : vector R) : Prop :=
    forall i s, In (i, s) signs -> if s then 0 <= pre_activation d m z i else pre_activation d m z i <= 0.

  Lemma active_unit signs z i : has_signs signs z -> In (i, true) signs -> hidden z i = pre_activation d m z i.
  Proof. intros H Hi. apply H in Hi. unfold hidden, relu. rewrite Rmax_right; [reflexivity|exact Hi]. Qed.

  Lemma inactive_unit signs z i : has_signs signs z -> In (i, false) signs -> hidden z i = 0.
  Proof. intros H Hi. apply H in Hi. unfold hidden, relu. rewrite Rmax_left; [reflexivity|exact Hi]. Qed.

  (* (M^T l)_k, M = I + W_1 W_2 *)
  Definition transposed_M (l : vector R) : vector R :=
    fun k => l k + apply d (transposed (W_2 m)) (apply r (transposed (W_1 m)) l) k.

  (* Multipliers l bound f . h on the leaf by l . c. *)
  Theorem leaf_bound signs (f l : vector R) z :
    maps_to z -> has_signs signs z ->
    (forall i, (i < r)%nat -> In (i, true) signs \/ l i <= 0) ->
    (forall i, (i < r)%nat -> In (i, false) signs \/ f i <= transposed_M l i) ->
    dot r f (hidden z) <= dot r l constant_term.
  Proof.
    intros Hz Hs Hl Hf.
    assert (E : dot r l constant_term
                = dot r l (pre_activation d m z) + dot r (apply d (transposed (W_2 m)) (apply r (transposed (W_1 m)) l)) (hidden z)).
    { rewrite (dot_ext r l constant_term l (fun i => pre_activation d m z i + apply d (W_1 m) (apply r (W_2 m) (hidden z)) i)).
      - rewrite dot_plus_r. f_equal. now rewrite dot_apply, dot_apply.
      - reflexivity.
      - intros i _. rewrite (pre_activation_equation z Hz i). ring. }
    rewrite E.
    apply Rle_trans with (dot r (transposed_M l) (hidden z)).
    - apply sum_le. intros i Hi. apply in_below in Hi. pose proof (hidden_nonneg z i).
      destruct (Hf i Hi) as [Hi'|Hi']; [rewrite (inactive_unit signs z i Hs Hi'); lra|].
      apply Rmult_le_compat_r; assumption.
    - unfold transposed_M. rewrite (dot_comm r _ (hidden z)), dot_plus_r.
      rewrite (dot_comm r _ l), (dot_comm r (hidden z)). apply Rplus_le_compat_r.
      apply sum_le. intros i Hi. apply in_below in Hi. pose proof (hidden_above z i).
      destruct (Hl i Hi) as [Hi'|Hi']; [rewrite (active_unit signs z i Hs Hi'); lra|]. nra.
  Qed.

  (* w . z on the leaf. *)
  Theorem leaf_bound_along signs (w l : vector R) z :
    maps_to z -> has_signs signs z ->
    (forall i, (i < r)%nat -> In (i, true) signs \/ l i <= 0) ->
    (forall i, (i < r)%nat -> In (i, false) signs \/ - apply d (transposed (W_2 m)) w i <= transposed_M l i) ->
    dot d w z <= dot d w shifted + dot r l constant_term.
  Proof.
    intros Hz Hs Hl Hf.
    pose proof (leaf_bound signs (fun i => - apply d (transposed (W_2 m)) w i) l z Hz Hs Hl Hf) as B.
    rewrite (dot_ext d w z w (fun c => shifted c - apply r (W_2 m) (hidden z) c));
      [|reflexivity|apply preimage_equation, Hz].
    rewrite dot_minus_r, dot_apply.
    rewrite (dot_comm r _ (hidden z)) in B.
    rewrite (dot_ext r (hidden z) _ (hidden z) (fun i => (-1) * apply d (transposed (W_2 m)) w i)) in B
      by (reflexivity || (intros; ring)).
    rewrite dot_scale_r, (dot_comm r (hidden z)) in B. lra.
  Qed.

  (* A leaf on which 0 <= l . c < 0 is empty. *)
  Theorem empty_leaf signs (l : vector R) z :
    maps_to z -> has_signs signs z ->
    (forall i, (i < r)%nat -> In (i, true) signs \/ l i <= 0) ->
    (forall i, (i < r)%nat -> In (i, false) signs \/ 0 <= transposed_M l i) ->
    dot r l constant_term < 0 -> False.
  Proof.
    intros Hz Hs Hl Hf H. pose proof (leaf_bound signs (fun _ => 0) l z Hz Hs Hl Hf) as B.
    rewrite dot_zero_l in B by reflexivity. lra.
  Qed.

  (* If e . M e > 0 for e <> 0, y has one preimage at most. *)
  Theorem one_preimage :
    (forall e : vector R, dot r e (fun i => e i + apply d (W_1 m) (apply r (W_2 m) e) i) <= 0 ->
                          forall i, (i < r)%nat -> e i = 0) ->
    forall z z', maps_to z -> maps_to z' -> forall c, (c < d)%nat -> z c = z' c.
  Proof.
    intros HM z z' Hz Hz' c Hc.
    set (e := fun i => hidden z i - hidden z' i).
    assert (He : forall i, (i < r)%nat -> e i = 0).
    { apply HM.
      rewrite (dot_ext r e _ e (fun i => e i - (pre_activation d m z i - pre_activation d m z' i))).
      - replace 0 with (sum (fun _ : nat => 0) (below r)) by (apply sum_zero; reflexivity).
        apply sum_le. intros i _. unfold e, hidden, relu, Rmax.
        destruct (Rle_dec 0 (pre_activation d m z i)), (Rle_dec 0 (pre_activation d m z' i)); nra.
      - reflexivity.
      - intros i _. rewrite (pre_activation_equation z Hz i), (pre_activation_equation z' Hz' i).
        assert (E : forall n M (u v : vector R) k, apply n M (fun i => u i - v i) k = apply n M u k - apply n M v k)
          by (intros; apply dot_minus_r).
        assert (Ee : apply d (W_1 m) (apply r (W_2 m) e) i
                     = apply d (W_1 m) (apply r (W_2 m) (hidden z)) i
                       - apply d (W_1 m) (apply r (W_2 m) (hidden z')) i).
        { rewrite <- E. apply dot_ext; [reflexivity|]. intros k _. apply E. }
        rewrite Ee. unfold e. ring. }
    rewrite (preimage_equation z Hz c Hc), (preimage_equation z' Hz' c Hc). f_equal.
    apply dot_ext; [reflexivity|]. intros i Hi. specialize (He i Hi). unfold e in He. lra.
  Qed.
End Preimage.

(* A matrix that is, up to F F^T, dominated by its diagonal is positive definite. *)
Section Definite.
  Variables (n k : nat) (N F : matrix R).
  Definition remainder (i j : nat) : R := N i j - dot k (F i) (F j).
  Definition excess (i : nat) : R := 4 * remainder i i - sum (fun j => Rabs (remainder i j) + Rabs (remainder j i)) (below n).

  Lemma quadratic_split e :
    dot n e (apply n N e) = dot n e (apply n remainder e) + dot k (apply n (transposed F) e) (apply n (transposed F) e).
  Proof.
    set (u := apply n (transposed F) e).
    assert (Hu : dot k u u = dot n e (apply k F u)) by (unfold u at 2; rewrite dot_apply; apply dot_comm).
    rewrite Hu, <- dot_plus_r. apply dot_ext; [reflexivity|]. intros i _.
    change (dot n (N i) e = dot n (remainder i) e + dot k (F i) u).
    unfold u. rewrite dot_apply, !(dot_comm n _ e), <- dot_plus_r. apply dot_ext; [reflexivity|]. intros j _.
    change (apply k (transposed (transposed F)) (F i) j) with (dot k (F j) (F i)).
    unfold remainder. rewrite (dot_comm k (F i)). ring.
  Qed.

  Lemma dominated e :
    sum (fun i => / 2 * excess i * (e i * e i)) (below n) <= dot n e (apply n remainder e).
  Proof.
    assert (D : sum (fun i => 2 * remainder i i * (e i * e i)) (below n)
                <= sum (fun i => sum (fun j => remainder i j * (e i * e j) + Rabs (remainder i j) * Rabs (e i * e j)) (below n)) (below n)).
    { apply sum_le. intros i Hi.
      assert (T : forall j, 0 <= remainder i j * (e i * e j) + Rabs (remainder i j) * Rabs (e i * e j)).
      { intros j. rewrite <- Rabs_mult. pose proof (Rle_abs (- (remainder i j * (e i * e j)))) as A.
        rewrite Rabs_Ropp in A. lra. }
      destruct (Rle_dec 0 (remainder i i)) as [H|H].
      - eapply Rle_trans; [|apply (term_le_sum _ (below n) i (fun j _ => T j) Hi)].
        rewrite (Rabs_pos_eq _ H), (Rabs_pos_eq (e i * e i)) by nra. lra.
      - eapply Rle_trans; [|apply (sum_nonneg _ (below n) (fun j _ => T j))]. nra. }
    assert (U : sum (fun i => sum (fun j => Rabs (remainder i j) * Rabs (e i * e j)) (below n)) (below n)
                <= sum (fun i => / 2 * sum (fun j => Rabs (remainder i j) + Rabs (remainder j i)) (below n) * (e i * e i)) (below n)).
    { apply Rle_trans with (sum (fun i => sum (fun j => / 2 * Rabs (remainder i j) * (e i * e i) + / 2 * Rabs (remainder i j) * (e j * e j)) (below n)) (below n)).
      - apply sum_le. intros i _. apply sum_le. intros j _. pose proof (Rabs_pos (remainder i j)).
        assert (Rabs (e i * e j) <= / 2 * (e i * e i + e j * e j)).
        { pose proof (Rle_0_sqr (e i + e j)). pose proof (Rle_0_sqr (e i - e j)). unfold Rsqr in *.
          unfold Rabs. destruct (Rcase_abs (e i * e j)); lra. }
        nra.
      - right.
        rewrite (sum_ext _ (fun i => sum (fun j => / 2 * Rabs (remainder i j) * (e i * e i)) (below n)
                                     + sum (fun j => / 2 * Rabs (remainder i j) * (e j * e j)) (below n)))
          by (intros; apply sum_plus).
        rewrite sum_plus. rewrite (sum_swap (fun i j => / 2 * Rabs (remainder i j) * (e j * e j))).
        rewrite <- sum_plus. apply sum_ext. intros i _.
        rewrite !sum_scale_r, <- Rmult_plus_distr_r. f_equal. rewrite !sum_scale, sum_plus. ring. }
    assert (E : dot n e (apply n remainder e) = sum (fun i => sum (fun j => remainder i j * (e i * e j)) (below n)) (below n)).
    { unfold dot at 1, apply, dot. apply sum_ext. intros i _. rewrite <- sum_scale. apply sum_ext. intros. ring. }
    rewrite E.
    rewrite (sum_ext (fun i => sum (fun j => remainder i j * (e i * e j) + _) (below n))
               (fun i => sum (fun j => remainder i j * (e i * e j)) (below n) + sum (fun j => Rabs (remainder i j) * Rabs (e i * e j)) (below n))) in D
      by (intros; apply sum_plus).
    rewrite sum_plus in D.
    rewrite (sum_ext (fun i => / 2 * excess i * (e i * e i))
               (fun i => 2 * remainder i i * (e i * e i)
                         - / 2 * sum (fun j => Rabs (remainder i j) + Rabs (remainder j i)) (below n) * (e i * e i)))
      by (intros; unfold excess; field).
    rewrite sum_minus. lra.
  Qed.

  Theorem definite e :
    (forall i, (i < n)%nat -> 0 < excess i) -> dot n e (apply n N e) <= 0 -> forall i, (i < n)%nat -> e i = 0.
  Proof.
    intros H Hq i Hi. rewrite quadratic_split in Hq. pose proof (dominated e) as D.
    pose proof (dot_self_nonneg k (apply n (transposed F) e)) as P.
    assert (T : / 2 * excess i * (e i * e i) <= sum (fun i => / 2 * excess i * (e i * e i)) (below n)).
    { apply (term_le_sum (fun i => / 2 * excess i * (e i * e i))); [|now apply in_below].
      intros j Hj. apply in_below in Hj. specialize (H j Hj).
      apply Rmult_le_pos; [lra|apply Rle_0_sqr]. }
    specialize (H i Hi). assert (e i * e i <= 0) by nra. nra.
  Qed.
End Definite.
