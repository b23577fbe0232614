(* Finite sums of real numbers over lists, and what the other files need of them.

   Tokens may be of any type here. A vector is a function from coordinates to numbers, of which the
   first d count; so a sum over coordinates is a sum over the list 0, ..., d - 1. *)

From Coq Require Import Reals List Lra Lia Arith.
Import ListNotations.
Open Scope R_scope.

(* The sum of f over a list: the only sum in this library. *)
Fixpoint sum {A : Type} (f : A -> R) (l : list A) : R :=
  match l with
  | [] => 0
  | z :: rest => f z + sum f rest
  end.

(* The coordinates of a vector of length d. *)
Definition below (d : nat) : list nat := seq 0 d.

Lemma in_below d i : In i (below d) <-> (i < d)%nat.
Proof. unfold below. rewrite in_seq. lia. Qed.

Section Sums.
  Context {A : Type}.
  Implicit Types (f g : A -> R) (l : list A).

  Lemma sum_app f l k : sum f (l ++ k) = sum f l + sum f k.
  Proof. induction l as [|z l IH]; simpl; lra. Qed.

  Lemma sum_ext f g l : (forall z, In z l -> f z = g z) -> sum f l = sum g l.
  Proof.
    induction l as [|z l IH]; simpl; intros H; [reflexivity|].
    rewrite (H z) by auto. rewrite IH by auto. reflexivity.
  Qed.

  Lemma sum_plus f g l : sum (fun z => f z + g z) l = sum f l + sum g l.
  Proof. induction l as [|z l IH]; simpl; [|rewrite IH]; lra. Qed.

  Lemma sum_minus f g l : sum (fun z => f z - g z) l = sum f l - sum g l.
  Proof. induction l as [|z l IH]; simpl; [|rewrite IH]; lra. Qed.

  Lemma sum_scale c f l : sum (fun z => c * f z) l = c * sum f l.
  Proof. induction l as [|z l IH]; simpl; [|rewrite IH]; lra. Qed.

  Lemma sum_scale_r c f l : sum (fun z => f z * c) l = sum f l * c.
  Proof. induction l as [|z l IH]; simpl; [|rewrite IH]; lra. Qed.

  Lemma sum_const c l : sum (fun _ => c) l = INR (length l) * c.
  Proof. induction l as [|z l IH]; [simpl; lra|]. cbn [sum length]. rewrite IH, S_INR. lra. Qed.

  Lemma sum_zero f l : (forall z, In z l -> f z = 0) -> sum f l = 0.
  Proof. intros H. rewrite (sum_ext f (fun _ => 0)) by exact H. rewrite sum_const. lra. Qed.

  Lemma sum_le f g l : (forall z, In z l -> f z <= g z) -> sum f l <= sum g l.
  Proof.
    induction l as [|z l IH]; simpl; intros H; [lra|].
    pose proof (H z (or_introl eq_refl)).
    assert (sum f l <= sum g l) by auto. lra.
  Qed.

  Lemma sum_nonneg f l : (forall z, In z l -> 0 <= f z) -> 0 <= sum f l.
  Proof.
    intros H. replace 0 with (sum (fun _ : A => 0) l) by (apply sum_zero; auto).
    apply sum_le. exact H.
  Qed.

  Lemma sum_pos f l : l <> [] -> (forall z, In z l -> 0 < f z) -> 0 < sum f l.
  Proof.
    destruct l as [|z l]; [congruence|]. intros _ H. simpl.
    pose proof (H z (or_introl eq_refl)).
    assert (0 <= sum f l) by (apply sum_nonneg; intros y Hy; left; apply H; simpl; auto).
    lra.
  Qed.

  Lemma term_le_sum f l z : (forall y, In y l -> 0 <= f y) -> In z l -> f z <= sum f l.
  Proof.
    induction l as [|y l IH]; simpl; intros H Hz; [contradiction|].
    assert (0 <= sum f l) by (apply sum_nonneg; auto).
    assert (0 <= f y) by auto.
    destruct Hz as [->|Hz]; [lra|].
    assert (f z <= sum f l) by auto. lra.
  Qed.

  Lemma sum_abs f l : Rabs (sum f l) <= sum (fun z => Rabs (f z)) l.
  Proof.
    induction l as [|z l IH]; simpl; [rewrite Rabs_R0; lra|].
    eapply Rle_trans; [apply Rabs_triang|]. lra.
  Qed.
End Sums.

Lemma sum_map {A B : Type} (f : B -> R) (g : A -> B) (l : list A) :
  sum f (map g l) = sum (fun z => f (g z)) l.
Proof. induction l as [|z l IH]; simpl; [|rewrite IH]; lra. Qed.

(* The order of summation does not matter. *)
Lemma sum_swap {A B : Type} (f : A -> B -> R) (l : list A) (k : list B) :
  sum (fun x => sum (fun y => f x y) k) l = sum (fun y => sum (fun x => f x y) l) k.
Proof.
  induction l as [|x l IH]; simpl.
  - symmetry. apply sum_zero. reflexivity.
  - rewrite IH, <- sum_plus. reflexivity.
Qed.

(* One coordinate picked out of a sum. *)
Lemma sum_unit (n i : nat) (f : nat -> R) :
  (i < n)%nat -> sum (fun j => if Nat.eqb i j then f j else 0) (below n) = f i.
Proof.
  unfold below. intros H.
  assert (G : forall a, (a <= i < a + n)%nat ->
              sum (fun j => if Nat.eqb i j then f j else 0) (seq a n) = f i).
  { clear H. induction n as [|n IH]; intros a Ha; [lia|]. simpl.
    destruct (Nat.eqb_spec i a) as [->|Hne].
    - rewrite sum_zero; [lra|]. intros z Hz. apply in_seq in Hz.
      destruct (Nat.eqb_spec a z); [lia|reflexivity].
    - rewrite IH by lia. lra. }
  apply G. lia.
Qed.
