(* Computing with rationals, and what the results say about real numbers: every function here has the name of the
   one on reals with a q in front, and a lemma that both agree. *)

From Coq Require Import Reals List Lra Lia Psatz QArith Qreals Qround Qabs.
From PromptCert Require Import Sums Vectors.
Import ListNotations.
Open Scope R_scope.

Notation real := Q2R.

Definition qplus (x y : Q) : Q := Qred (Qplus x y).
Definition qmult (x y : Q) : Q := Qred (Qmult x y).
Definition qminus (x y : Q) : Q := Qred (Qminus x y).
Definition qsquare (x : Q) : Q := qmult x x.
Definition qmax0 (x : Q) : Q := if Qle_bool 0 x then x else 0%Q.

Lemma real_red x : real (Qred x) = real x.
Proof. apply Qeq_eqR, Qred_correct. Qed.

Lemma real_plus x y : real (qplus x y) = real x + real y.
Proof. unfold qplus. rewrite real_red. apply Q2R_plus. Qed.

Lemma real_mult x y : real (qmult x y) = real x * real y.
Proof. unfold qmult. rewrite real_red. apply Q2R_mult. Qed.

Lemma real_minus x y : real (qminus x y) = real x - real y.
Proof. unfold qminus. rewrite real_red. apply Q2R_minus. Qed.

Lemma real_opp x : real (Qopp x) = - real x.
Proof. apply Q2R_opp. Qed.

Lemma real_0 : real 0 = 0.
Proof. unfold Q2R. simpl. field. Qed.

Lemma real_1 : real 1 = 1.
Proof. unfold Q2R. simpl. field. Qed.

Lemma real_inject z : real (inject_Z z) = IZR z.
Proof. unfold Q2R. simpl. field. Qed.

Lemma real_abs x : real (Qabs x) = Rabs (real x).
Proof.
  destruct (Qlt_le_dec x 0) as [H|H].
  - rewrite (Qeq_eqR _ _ (Qabs_neg x (Qlt_le_weak _ _ H))), real_opp. symmetry. apply Rabs_left.
    rewrite <- real_0. now apply Qlt_Rlt.
  - rewrite (Qeq_eqR _ _ (Qabs_pos x H)). symmetry. apply Rabs_right. apply Rle_ge.
    rewrite <- real_0. now apply Qle_Rle.
Qed.

(* Comparisons by computation. *)
Definition qle (x y : Q) : bool := Qle_bool x y.
Definition qlt (x y : Q) : bool := negb (Qle_bool y x).

Lemma qle_real x y : qle x y = true -> real x <= real y.
Proof. intros H. apply Qle_Rle, Qle_bool_iff, H. Qed.

Lemma qlt_real x y : qlt x y = true -> real x < real y.
Proof.
  unfold qlt. intros H. apply Qlt_Rlt, Qnot_le_lt. intros E. apply Qle_bool_iff in E. rewrite E in H. discriminate.
Qed.

Lemma qle_0 x : qle 0 x = true -> 0 <= real x.
Proof. intros H. apply qle_real in H. now rewrite real_0 in H. Qed.

Lemma qlt_0 x : qlt 0 x = true -> 0 < real x.
Proof. intros H. apply qlt_real in H. now rewrite real_0 in H. Qed.

Lemma Qeq_bool_real x y : Qeq_bool x y = true -> real x = real y.
Proof. intros H. apply Qeq_eqR, Qeq_bool_eq, H. Qed.

Lemma real_max0 x : real (qmax0 x) = Rmax 0 (real x).
Proof.
  unfold qmax0. destruct (Qle_bool 0 x) eqn:H.
  - rewrite Rmax_right; [reflexivity|]. apply qle_0. exact H.
  - rewrite real_0, Rmax_left; [reflexivity|]. left. rewrite <- real_0. apply qlt_real. unfold qlt. now rewrite H.
Qed.

(* Sums. *)
Fixpoint qsum {A : Type} (f : A -> Q) (l : list A) : Q :=
  match l with
  | [] => 0%Q
  | z :: rest => qplus (f z) (qsum f rest)
  end.

Lemma real_sum {A} (f : A -> Q) l : real (qsum f l) = sum (fun z => real (f z)) l.
Proof. induction l as [|z l IH]; simpl; [apply real_0|]. now rewrite real_plus, IH. Qed.

(* Vectors and matrices. *)
Definition real_vector (v : vector Q) : vector R := fun c => real (v c).
Definition real_matrix (M : matrix Q) : matrix R := fun i j => real (M i j).

Definition qdot (d : nat) (u v : vector Q) : Q := qsum (fun c => qmult (u c) (v c)) (below d).
Definition qapply (d : nat) (M : matrix Q) (v : vector Q) : vector Q := fun i => qdot d (M i) v.

Lemma real_dot d u v : real (qdot d u v) = dot d (real_vector u) (real_vector v).
Proof. unfold qdot. rewrite real_sum. apply sum_ext. intros. apply real_mult. Qed.

Lemma real_apply d M v : real_vector (qapply d M v) = apply d (real_matrix M) (real_vector v).
Proof. apply FunctionalExtensionality.functional_extensionality. intros i. apply real_dot. Qed.

(* The entries of a vector, computed once. *)
Definition stored (d : nat) (v : vector Q) : vector Q :=
  let entries := map v (below d) in fun c => nth c entries 0%Q.

Lemma stored_entry d v c : (c < d)%nat -> stored d v c = v c.
Proof.
  intros H. unfold stored, below.
  rewrite (nth_indep _ 0%Q (v 0%nat)) by (rewrite map_length, seq_length; exact H).
  rewrite map_nth, seq_nth by exact H. reflexivity.
Qed.

(* How certificates write numbers: integers over one denominator. Missing entries are 0. *)
Definition vector_over (den : positive) (num : list Z) : vector Q := fun c => Qmake (nth c num 0%Z) den.
Definition matrix_over (den : positive) (num : list (list Z)) : matrix Q :=
  fun i j => Qmake (nth j (nth i num []) 0%Z) den.
Definition columns_over (den : positive) (num : list (list Z)) : list (vector Q) :=
  map (fun j => fun c => matrix_over den num c j) (below (length (hd [] num))).

Definition all_below (d : nat) (test : nat -> bool) : bool := forallb test (below d).

Lemma all_below_spec d test : all_below d test = true -> forall c, (c < d)%nat -> test c = true.
Proof.
  unfold all_below. rewrite forallb_forall. intros H c Hc. apply H. now apply in_below.
Qed.

Definition equal_vectors (d : nat) (u v : vector Q) : bool := all_below d (fun c => Qeq_bool (u c) (v c)).

Lemma equal_vectors_real d u v :
  equal_vectors d u v = true -> forall c, (c < d)%nat -> real (u c) = real (v c).
Proof. intros H c Hc. apply Qeq_bool_real. apply (all_below_spec d _ H c Hc). Qed.
