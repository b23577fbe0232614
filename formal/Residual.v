(* The repaired condition for depth: with layer constants whose product of 1 + c is below 2, different inputs behind one
   prompt have different outputs, however deep the stack.

   Z = [P, X] is an element of a normed space, read-out (the last m columns) a linear map of norm at most 1. Nothing
   else is assumed of layers than the constants of T - id where they are used. *)

From Coq Require Import Reals List Lra Lia Psatz.
From Coquelicot Require Import Coquelicot.
Import ListNotations.
Open Scope R_scope.

Section Residual.
  Context {E : NormedModule R_AbsRing}.

  (* A layer T on a region, with a constant of T - id there: |(T x - x) - (T y - y)| <= c |x - y|. *)
  Record step := Step { region : E -> Prop; layer_of : E -> E; constant : R }.

  Definition residual (s : step) : Prop :=
    0 <= constant s /\
    forall x y, region s x -> region s y ->
      norm (minus (minus (layer_of s x) x) (minus (layer_of s y) y)) <= constant s * norm (minus x y).

  Fixpoint stack (steps : list step) (x : E) : E :=
    match steps with
    | [] => x
    | s :: rest => stack rest (layer_of s x)
    end.

  (* The trajectory of x stays in the regions. *)
  Fixpoint stays (steps : list step) (x : E) : Prop :=
    match steps with
    | [] => True
    | s :: rest => region s x /\ stays rest (layer_of s x)
    end.

  (* The product of all 1 + c. *)
  Definition product (steps : list step) : R := fold_right (fun s p => (1 + constant s) * p) 1 steps.

  Lemma minus_regroup (a b c : E) : minus a c = plus (minus a b) (minus b c).
  Proof.
    unfold minus. rewrite plus_assoc. rewrite <- (plus_assoc a (opp b) b), plus_opp_l, plus_zero_r. reflexivity.
  Qed.

  Lemma minus_plus_swap (a b c e : E) : minus (plus a b) (plus c e) = plus (minus a c) (minus b e).
  Proof.
    unfold minus. rewrite opp_plus. rewrite <- !plus_assoc. f_equal.
    rewrite !plus_assoc. f_equal. apply plus_comm.
  Qed.

  Lemma layer_expands s x y : residual s -> region s x -> region s y ->
    norm (minus (layer_of s x) (layer_of s y)) <= (1 + constant s) * norm (minus x y).
  Proof.
    intros [_ H] Hx Hy.
    replace (minus (layer_of s x) (layer_of s y))
      with (plus (minus x y) (minus (minus (layer_of s x) x) (minus (layer_of s y) y))).
    - eapply Rle_trans; [apply @norm_triangle|]. pose proof (H x y Hx Hy) as B.
      apply Rle_trans with (norm (minus x y) + constant s * norm (minus x y)); [apply Rplus_le_compat_l, B|lra].
    - rewrite <- minus_plus_swap. unfold minus. f_equal; [|f_equal];
        rewrite plus_comm, <- plus_assoc, plus_opp_l, plus_zero_r; reflexivity.
  Qed.

  Lemma product_at_least_1 steps : (forall s, In s steps -> residual s) -> 1 <= product steps.
  Proof.
    induction steps as [|s rest IH]; intros H; simpl; [lra|].
    destruct (H s (or_introl eq_refl)) as [Hc _].
    assert (1 <= product rest) by (apply IH; intros; apply H; simpl; auto). nra.
  Qed.

  (* T - id has the constant (product of 1 + c) - 1. *)
  Theorem stack_residual steps : (forall s, In s steps -> residual s) -> forall x y, stays steps x -> stays steps y ->
    norm (minus (minus (stack steps x) x) (minus (stack steps y) y)) <= (product steps - 1) * norm (minus x y).
  Proof.
    induction steps as [|s rest IH]; intros H x y Hx Hy; simpl in *.
    - unfold minus. rewrite !plus_opp_r, ?opp_zero, ?plus_zero_r, norm_zero.
      right. ring.
    - destruct Hx as [Rx Hx], Hy as [Ry Hy].
      assert (Hs : residual s) by auto. destruct Hs as [Hc Hs].
      assert (Hrest : forall t, In t rest -> residual t) by auto.
      specialize (IH Hrest _ _ Hx Hy).
      pose proof (layer_expands s x y (conj Hc Hs) Rx Ry) as G. specialize (Hs x y Rx Ry).
      pose proof (product_at_least_1 rest Hrest) as Hp.
      rewrite (minus_regroup (stack rest (layer_of s x)) (layer_of s x) x),
              (minus_regroup (stack rest (layer_of s y)) (layer_of s y) y), minus_plus_swap.
      eapply Rle_trans; [apply @norm_triangle|].
      apply Rle_trans with ((product rest - 1) * ((1 + constant s) * norm (minus x y)) + constant s * norm (minus x y)).
      + apply Rplus_le_compat; [|exact Hs]. eapply Rle_trans; [exact IH|].
        apply Rmult_le_compat_l; [lra|exact G].
      + right. ring.
  Qed.

  (* The output that is read, and two inputs behind one prompt: all that differs is read. *)
  Context {F : NormedModule R_AbsRing}.
  Variable read : E -> F.
  Hypothesis read_minus : forall x y, read (minus x y) = minus (read x) (read y).
  Hypothesis read_short : forall x, norm (read x) <= norm x.

  Theorem prompted_injectivity steps x y :
    (forall s, In s steps -> residual s) -> stays steps x -> stays steps y ->
    norm (read (minus x y)) = norm (minus x y) ->
    (2 - product steps) * norm (minus x y) <= norm (minus (read (stack steps x)) (read (stack steps y))).
  Proof.
    intros H Hx Hy Hr. pose proof (stack_residual steps H x y Hx Hy) as B.
    rewrite <- read_minus.
    set (D := minus (minus (stack steps x) x) (minus (stack steps y) y)) in *.
    assert (E1 : read (minus x y) = minus (read (minus (stack steps x) (stack steps y))) (read D)).
    { rewrite <- read_minus. f_equal. unfold D.
      change (minus (stack steps x) x) with (plus (stack steps x) (opp x)).
      change (minus (stack steps y) y) with (plus (stack steps y) (opp y)).
      rewrite minus_plus_swap. unfold minus at 2. rewrite opp_plus, plus_assoc, plus_opp_r, plus_zero_l.
      unfold minus. now rewrite opp_plus, !opp_opp. }
    assert (T : norm (read (minus x y)) <= norm (read (minus (stack steps x) (stack steps y))) + norm (read D)).
    { rewrite E1 at 1. unfold minus at 1. eapply Rle_trans; [apply @norm_triangle|].
      apply Rplus_le_compat_l. rewrite norm_opp. apply Rle_refl. }
    pose proof (read_short D) as RD. rewrite Hr in T.
    apply Rle_trans with (norm (minus x y) - norm (read D)); [|lra].
    apply Rle_trans with (norm (minus x y) - (product steps - 1) * norm (minus x y)); [lra|].
    apply Rplus_le_compat_l, Ropp_le_contravar. eapply Rle_trans; [exact RD|exact B].
  Qed.

  (* If both are asked for one output, one of them misses it by half of that. *)
  Corollary prompted_floor steps x y (target : F) :
    (forall s, In s steps -> residual s) -> stays steps x -> stays steps y ->
    norm (read (minus x y)) = norm (minus x y) ->
    (2 - product steps) / 2 * norm (minus x y)
    <= Rmax (norm (minus (read (stack steps x)) target)) (norm (minus (read (stack steps y)) target)).
  Proof.
    intros H Hx Hy Hr. pose proof (prompted_injectivity steps x y H Hx Hy Hr) as B.
    set (a := read (stack steps x)) in *. set (b := read (stack steps y)) in *.
    assert (T : norm (minus a b) <= norm (minus a target) + norm (minus b target)).
    { assert (E1 : minus a b = plus (minus a target) (opp (minus b target))).
      { unfold minus. rewrite opp_plus, opp_opp, <- !plus_assoc. f_equal.
        rewrite (plus_comm (opp b)), plus_assoc, plus_opp_l, plus_zero_l. reflexivity. }
      rewrite E1. eapply Rle_trans; [apply @norm_triangle|]. rewrite norm_opp. apply Rle_refl. }
    pose proof (Rmax_l (norm (minus a target)) (norm (minus b target))).
    pose proof (Rmax_r (norm (minus a target)) (norm (minus b target))).
    lra.
  Qed.

  (* In particular the outputs differ as soon as the inputs do. *)
  Corollary outputs_differ steps x y :
    (forall s, In s steps -> residual s) -> stays steps x -> stays steps y ->
    norm (read (minus x y)) = norm (minus x y) -> product steps < 2 -> x <> y ->
    read (stack steps x) <> read (stack steps y).
  Proof.
    intros H Hx Hy Hr Hp Hne E1. pose proof (prompted_injectivity steps x y H Hx Hy Hr) as B.
    rewrite E1 in B. unfold minus in B at 2. rewrite plus_opp_r, norm_zero in B.
    apply Hne.
    assert (N : norm (minus x y) = 0).
    { pose proof (norm_ge_0 (minus x y)). nra. }
    apply norm_eq_zero in N. unfold minus in N.
    rewrite <- (plus_zero_r x), <- (plus_opp_l y), plus_assoc, N, plus_zero_l. reflexivity.
  Qed.
End Residual.
