(* Replaying certificates of the claim prompted-injectivity, relation collapse. *)

From Coq Require Import Reals List Lra Lia Psatz QArith Qreals Qabs Bool FunctionalExtensionality.
From PromptCert Require Import Sums Attention Vectors Rational Layer Data Preimage Collapse.
Import ListNotations.
Open Scope R_scope.

Definition qunit (j : nat) : vector Q := fun k => if Nat.eqb j k then 1%Q else 0%Q.
Definition unit_vector (j : nat) : vector R := fun k => if Nat.eqb j k then 1 else 0.

Lemma qunit_real j : real_vector (qunit j) = unit_vector j.
Proof.
  apply functional_extensionality. intros k. unfold real_vector, qunit, unit_vector.
  destruct (Nat.eqb j k); [apply real_1|apply real_0].
Qed.

Section Check.
  Variables (d : nat) (m_p : nat).

  Definition uniform_ok (L : layer Q) : bool :=
    match heads L with
    | [h] =>
        Nat.eqb (Layer.d L) d && Nat.eqb (units (feed_forward L)) 0
        && all_below d (fun c => Qeq_bool (b_2 (feed_forward L) c) 0)
        && all_below (size h) (fun i => Qeq_bool (b_q h i) 0 && all_below d (fun c => Qeq_bool (W_q h i c) 0))
    | _ => false
    end.

  (* 1 - V^T V is positive definite by the factor. *)
  Definition contracts (h : head Q) (F : matrix Q) : bool :=
    let columns := map (fun j => qvalue d h (qunit j)) (below d) in
    let column j := nth j columns (fun _ => 0%Q) in
    let N i j := qminus (if Nat.eqb i j then 1%Q else 0%Q) (qdot d (column i) (column j)) in
    let R i j := qminus (N i j) (qdot d (F i) (F j)) in
    all_below d (fun i => qlt 0 (qminus (qmult 4 (R i i)) (qsum (fun j => qplus (Qabs (R i j)) (Qabs (R j i))) (below d)))).

  Definition qmean_through (hs : list (head Q)) (v : vector Q) : vector Q :=
    fold_left (fun v h => stored d (let u := qvalue d h v in fun c => qplus (v c) (u c))) hs v.

  Definition product_ok (hs : list (head Q)) : bool :=
    all_below d (fun j => equal_vectors d (qmean_through hs (qunit j))
                            (fun k => qmult (inject_Z (- Z.of_nat m_p)) (qunit j k))).

  Definition check_collapse (layers : list (layer Q)) (factors : list (matrix Q)) : bool :=
    forallb uniform_ok layers
    && Nat.eqb (length factors) (length layers)
    && forallb (fun LF => forallb (fun h => contracts h (snd LF)) (heads (fst LF))) (combine layers factors)
    && product_ok (flat_map heads layers).

  (* Soundness. *)
  Lemma value_linear {B} (h : head R) (a : B -> R) (v : B -> vector R) (l : list B) (u : vector R) c :
    (forall k, (k < d)%nat -> u k = sum (fun j => a j * v j k) l) ->
    value d h u c = sum (fun j => a j * value d h (v j) c) l.
  Proof.
    intros H. unfold value, apply at 1.
    rewrite (dot_ext (size h) (W_o h c) (apply d (W_v h) u) (W_o h c) (fun i => sum (fun j => a j * apply d (W_v h) (v j) i) l)).
    - rewrite dot_sum_r. apply sum_ext. intros j _. apply dot_scale_r.
    - reflexivity.
    - intros i _. unfold apply. rewrite (dot_ext d (W_v h i) u (W_v h i) (fun k => sum (fun j => a j * v j k) l)) by auto.
      rewrite dot_sum_r. apply sum_ext. intros j _. apply dot_scale_r.
  Qed.

  Lemma mean_through_linear {B} (a : B -> R) (l : list B) (hs : list (head R)) : forall (v : B -> vector R) (u : vector R),
    (forall k, (k < d)%nat -> u k = sum (fun j => a j * v j k) l) ->
    forall k, (k < d)%nat -> mean_through d hs u k = sum (fun j => a j * mean_through d hs (v j) k) l.
  Proof.
    induction hs as [|h hs IH]; intros v u H k Hk; simpl; [now apply H|].
    apply IH; [|exact Hk]. intros i Hi. rewrite (H i Hi), (value_linear h a v l u i H), <- sum_plus.
    apply sum_ext. intros. ring.
  Qed.

  Lemma in_units (u : vector R) k : (k < d)%nat -> u k = sum (fun j => u j * unit_vector j k) (below d).
  Proof.
    intros Hk. rewrite (sum_ext _ (fun j => if Nat.eqb k j then u j else 0)); [symmetry; now apply sum_unit|].
    intros j _. unfold unit_vector. rewrite Nat.eqb_sym. destruct (Nat.eqb k j); ring.
  Qed.

  Lemma qmean_through_real hs : forall v u, (forall k, (k < d)%nat -> real (v k) = u k) ->
    forall k, (k < d)%nat -> real (qmean_through hs v k) = mean_through d (map real_head hs) u k.
  Proof.
    induction hs as [|h hs IH]; intros v u H k Hk; simpl; [now apply H|].
    apply IH; [|exact Hk]. intros i Hi. rewrite stored_entry by exact Hi. cbv zeta.
    rewrite real_plus, qvalue_real by exact Hi. rewrite (H i Hi). f_equal. now apply value_ext.
  Qed.

  Lemma product_sound hs : product_ok hs = true ->
    forall mu c, (c < d)%nat -> mean_through d (map real_head hs) mu c = - INR m_p * mu c.
  Proof.
    intros H mu c Hc.
    rewrite (mean_through_linear mu (below d) (map real_head hs) unit_vector mu (in_units mu) c Hc).
    rewrite (in_units mu c Hc). rewrite <- sum_scale. apply sum_ext. intros j Hj. apply in_below in Hj.
    pose proof (equal_vectors_real d _ _ (all_below_spec d _ H j Hj) c Hc) as E.
    rewrite (qmean_through_real hs (qunit j) (unit_vector j)) in E.
    - rewrite E, real_mult, real_inject, opp_IZR, <- INR_IZR_INZ.
      change (real (qunit j c)) with (real_vector (qunit j) c). rewrite qunit_real. ring.
    - intros k _. change (real (qunit j k)) with (real_vector (qunit j) k). now rewrite qunit_real.
    - exact Hc.
  Qed.

  (* A least positive excess. *)
  Lemma common_margin n (f : nat -> R) : (forall i, (i < n)%nat -> 0 < f i) ->
    exists e, 0 < e <= 1 /\ forall i, (i < n)%nat -> e <= f i.
  Proof.
    induction n as [|n IH]; intros H.
    - exists 1. split; [lra|]. intros i Hi. lia.
    - destruct IH as [e [He Hf]]; [intros; apply H; lia|].
      exists (Rmin e (f n)). pose proof (Rmin_l e (f n)). pose proof (Rmin_r e (f n)). split.
      + split; [apply Rmin_glb_lt; [lra|apply H; lia]|lra].
      + intros i Hi. assert (i = n \/ i < n)%nat as [->|Hi'] by lia; [lra|]. specialize (Hf i Hi'). lra.
  Qed.

  Lemma contracts_sound h F : contracts h F = true -> exists factor, 0 <= factor < 1 /\
    forall v, dot d (value d (real_head h) v) (value d (real_head h) v) <= factor * dot d v v.
  Proof.
    intros H. set (V := fun j => value d (real_head h) (unit_vector j)).
    set (N := fun i j => (if Nat.eqb i j then 1 else 0) - dot d (V i) (V j)).
    unfold contracts in H. cbv zeta in H.
    set (columns := map (fun j => qvalue d h (qunit j)) (below d)) in *.
    assert (Ecol : forall j, (j < d)%nat -> nth j columns (fun _ => 0%Q) = qvalue d h (qunit j)).
    { intros j Hj. unfold columns. rewrite (nth_indep _ _ (qvalue d h (qunit 0))) by (rewrite map_length; unfold below; rewrite seq_length; exact Hj).
      rewrite (map_nth (fun j => qvalue d h (qunit j))). unfold below. rewrite seq_nth by exact Hj. reflexivity. }
    assert (EV : forall i j, (i < d)%nat -> (j < d)%nat -> real (qdot d (nth i columns (fun _ => 0%Q)) (nth j columns (fun _ => 0%Q))) = dot d (V i) (V j)).
    { intros i j Hi Hj. rewrite !Ecol by assumption. rewrite real_dot. unfold V.
      apply dot_ext; intros c Hc; unfold real_vector; rewrite qvalue_real by exact Hc; now rewrite qunit_real. }
    assert (Hex : forall i, (i < d)%nat -> 0 < excess d d N (real_matrix F) i).
    { intros i Hi. pose proof (all_below_spec d _ H i Hi) as E. apply qlt_0 in E.
      rewrite real_minus, real_mult, real_sum in E.
      assert (ER : forall j k, (j < d)%nat -> (k < d)%nat -> real (qminus (qminus (if Nat.eqb j k then 1%Q else 0%Q) (qdot d (nth j columns (fun _ => 0%Q)) (nth k columns (fun _ => 0%Q)))) (qdot d (F j) (F k)))
                    = remainder d N (real_matrix F) j k).
      { intros j k Hj Hk. rewrite !real_minus, EV by assumption. unfold remainder, N. rewrite real_dot.
        destruct (Nat.eqb j k); [rewrite real_1|rewrite real_0]; reflexivity. }
      unfold excess. rewrite ER in E by assumption.
      replace (real 4) with 4 in E by (unfold Q2R; simpl; field).
      rewrite (sum_ext _ (fun j => Rabs (remainder d N (real_matrix F) i j) + Rabs (remainder d N (real_matrix F) j i))) in E; [exact E|].
      intros j Hj. apply in_below in Hj. rewrite real_plus, !real_abs, !ER by assumption. reflexivity. }
    destruct (common_margin d (excess d d N (real_matrix F)) Hex) as [e [He Hmin]].
    exists (1 - e / 2). split; [lra|]. intros v.
    assert (Q : dot d v (apply d N v) = dot d v v - dot d (value d (real_head h) v) (value d (real_head h) v)).
    { assert (EVv : forall c, value d (real_head h) v c = apply d (fun c j => V j c) v c).
      { intros c. rewrite (value_linear (real_head h) v unit_vector (below d) v c (in_units v)).
        unfold apply, dot. apply sum_ext. intros j _. unfold V. ring. }
      rewrite (dot_ext d (value d (real_head h) v) (value d (real_head h) v) (apply d (fun c j => V j c) v) (apply d (fun c j => V j c) v)) by auto.
      set (Vm := fun c j => V j c).
      rewrite (dot_apply d d Vm (apply d Vm v) v), (dot_comm d (apply d (transposed Vm) _) v), <- dot_minus_r.
      apply dot_ext; [reflexivity|]. intros i Hi.
      change (apply d N v i) with (dot d (fun j => (if Nat.eqb i j then 1 else 0) - dot d (V i) (V j)) v).
      rewrite dot_comm, dot_minus_r. f_equal.
      - unfold dot. rewrite (sum_ext _ (fun j => if Nat.eqb i j then v j else 0)); [now apply sum_unit|].
        intros j _. destruct (Nat.eqb i j); ring.
      - change (apply d (transposed Vm) (apply d Vm v) i) with (dot d (V i) (apply d Vm v)).
        rewrite dot_apply, dot_comm. apply dot_ext; [|reflexivity]. intros j _.
        unfold apply, transposed, Vm. apply dot_comm. }
    pose proof (quadratic_split d d N (real_matrix F) v) as S. pose proof (dominated d d N (real_matrix F) v) as D.
    pose proof (dot_self_nonneg d (apply d (transposed (real_matrix F)) v)) as P.
    assert (Lower : e / 2 * dot d v v <= sum (fun i => / 2 * excess d d N (real_matrix F) i * (v i * v i)) (below d)).
    { unfold dot. rewrite <- sum_scale. apply sum_le. intros i Hi. apply in_below in Hi. specialize (Hmin i Hi).
      apply Rmult_le_compat_r; [apply Rle_0_sqr|lra]. }
    lra.
  Qed.

  Lemma uniform_sound L : uniform_ok L = true -> exists h, heads L = [h] /\ uniform (real_layer L) (real_head h) /\ Layer.d (real_layer L) = d.
  Proof.
    unfold uniform_ok. destruct (heads L) as [|h [|]] eqn:Eh; try discriminate. intros H.
    repeat (apply andb_prop in H; destruct H as [H ?]). apply Nat.eqb_eq in H.
    exists h. split; [reflexivity|]. split; [|exact H]. unfold uniform. cbn [real_layer heads Layer.d feed_forward].
    rewrite Eh, H. repeat split.
    - intros x c Hc. unfold logit_vector, apply at 1. rewrite dot_comm. apply dot_zero_l. intros i Hi.
      match goal with E : all_below (size h) _ = true |- _ => pose proof (all_below_spec _ _ E i Hi) as Ei end.
      apply andb_prop in Ei. destruct Ei as [Eb EW]. apply Qeq_bool_real in Eb.
      cbn [real_head W_q b_q]. unfold real_vector at 1. rewrite Eb, real_0. unfold apply. rewrite dot_zero_l; [ring|].
      intros k Hk. pose proof (all_below_spec _ _ EW k Hk) as Ek. apply Qeq_bool_real in Ek. rewrite real_0 in Ek. exact Ek.
    - match goal with E : Nat.eqb (units _) 0 = true |- _ => apply Nat.eqb_eq in E; exact E end.
    - intros c Hc. match goal with E : all_below d _ = true |- _ => pose proof (all_below_spec _ _ E c Hc) as Ec end.
      apply Qeq_bool_real in Ec. rewrite real_0 in Ec. exact Ec.
  Qed.

  Lemma in_combine_left {A B} (x : A) (l : list A) (k : list B) :
    length k = length l -> In x l -> exists y, In (x, y) (combine l k).
  Proof.
    revert k. induction l as [|a l IH]; intros [|b k] Hl Hx; try discriminate; [destruct Hx|].
    destruct Hx as [->|Hx]; [exists b; simpl; auto|].
    injection Hl as Hl. destruct (IH k Hl Hx) as [y Hy]. exists y. simpl. auto.
  Qed.

  Theorem check_collapse_sound layers factors :
    check_collapse layers factors = true -> is_collapse d (map real_layer layers) m_p.
  Proof.
    unfold check_collapse. intros H. repeat (apply andb_prop in H; destruct H as [H ?]).
    match goal with E : product_ok _ = true |- _ => rename E into Hprod end.
    match goal with E : Nat.eqb (length factors) _ = true |- _ => apply Nat.eqb_eq in E; rename E into Hl end.
    match goal with E : forallb _ (combine _ _) = true |- _ => rename E into Hc end.
    rewrite forallb_forall in H, Hc.
    assert (Hcontr : forall L h, In L layers -> In h (heads L) -> exists F, contracts h F = true).
    { intros L h HL Hh. destruct (in_combine_left L layers factors Hl HL) as [F HF]. exists F.
      specialize (Hc _ HF). cbn [fst snd] in Hc. rewrite forallb_forall in Hc. now apply Hc. }
    assert (Hstack : uniform_stack (map real_layer layers) (map real_head (flat_map heads layers)) d).
    { clear -H. induction layers as [|L layers IH]; simpl; [constructor|].
      destruct (uniform_sound L (H L (or_introl eq_refl))) as [h [Eh [Hu Hd]]].
      rewrite Eh. simpl. constructor; [split; assumption|]. apply IH. intros; apply H; simpl; auto. }
    assert (Hheads : forall h, In h (map real_head (flat_map heads layers)) -> exists factor, 0 <= factor < 1 /\
              forall v, dot d (value d h v) (value d h v) <= factor * dot d v v).
    { intros h Hh. apply in_map_iff in Hh. destruct Hh as [h_0 [<- Hh]]. apply in_flat_map in Hh.
      destruct Hh as [L [HL Hh]]. destruct (Hcontr L h_0 HL Hh) as [F HF]. now apply contracts_sound in HF. }
    repeat split.
    - intros L HL h Hh. apply Hheads. apply in_map_iff in HL. destruct HL as [L_0 [<- HL]].
      simpl in Hh. apply in_map_iff in Hh. destruct Hh as [h_0 [<- Hh]]. apply in_map, in_flat_map. eauto.
    - apply (collapse_injective d _ (map real_head (flat_map heads layers)) (S m_p) Hstack); [discriminate|].
      intros h Hh v Hv. destruct (Hheads h Hh) as [factor [Hf Hb]]. specialize (Hb v).
      apply dot_self_zero. pose proof (dot_self_nonneg d v). nra.
    - apply (collapse d _ (map real_head (flat_map heads layers)) m_p Hstack). apply product_sound, Hprod.
  Qed.
End Check.
