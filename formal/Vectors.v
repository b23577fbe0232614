(* Vectors and matrices over the reals: functions of coordinates, of which the first d (rows, columns) count. *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums.
Import ListNotations.
Open Scope R_scope.

Notation vector K := (nat -> K) (only parsing).
Notation matrix K := (nat -> nat -> K) (only parsing).

(* u . v *)
Definition dot (d : nat) (u v : vector R) : R := sum (fun c => u c * v c) (below d).

(* M v, for a matrix with d columns *)
Definition apply (d : nat) (M : matrix R) (v : vector R) : vector R := fun i => dot d (M i) v.

Definition transposed {K} (M : matrix K) : matrix K := fun i j => M j i.

Lemma dot_ext d u v u' v' :
  (forall c, (c < d)%nat -> u c = u' c) -> (forall c, (c < d)%nat -> v c = v' c) -> dot d u v = dot d u' v'.
Proof.
  intros H K. apply sum_ext. intros c Hc. apply in_below in Hc. now rewrite H, K.
Qed.

Lemma dot_comm d u v : dot d u v = dot d v u.
Proof. apply sum_ext. intros. ring. Qed.

Lemma dot_plus_r d u v w : dot d u (fun c => v c + w c) = dot d u v + dot d u w.
Proof. unfold dot. rewrite <- sum_plus. apply sum_ext. intros. ring. Qed.

Lemma dot_minus_r d u v w : dot d u (fun c => v c - w c) = dot d u v - dot d u w.
Proof. unfold dot. rewrite <- sum_minus. apply sum_ext. intros. ring. Qed.

Lemma dot_scale_r d a u v : dot d u (fun c => a * v c) = a * dot d u v.
Proof. unfold dot. rewrite <- sum_scale. apply sum_ext. intros. ring. Qed.

Lemma dot_zero_l d u v : (forall c, (c < d)%nat -> u c = 0) -> dot d u v = 0.
Proof. intros H. apply sum_zero. intros c Hc. apply in_below in Hc. rewrite H by exact Hc. ring. Qed.

Lemma dot_sum_r {B} d u (v : B -> vector R) l :
  dot d u (fun c => sum (fun b => v b c) l) = sum (fun b => dot d u (v b)) l.
Proof.
  unfold dot. rewrite sum_swap. apply sum_ext. intros c _. symmetry. apply sum_scale.
Qed.

(* u . (M v) = (M^T u) . v, for M with m rows and n columns *)
Lemma dot_apply m n M u v : dot m u (apply n M v) = dot n (apply m (transposed M) u) v.
Proof.
  unfold dot, apply, dot, transposed.
  transitivity (sum (fun i => sum (fun j => u i * (M i j * v j)) (below n)) (below m)).
  - apply sum_ext. intros i _. symmetry. apply sum_scale.
  - rewrite sum_swap. apply sum_ext. intros j _. rewrite <- sum_scale_r. apply sum_ext. intros. ring.
Qed.

Lemma dot_self_nonneg d u : 0 <= dot d u u.
Proof. apply sum_nonneg. intros c _. nra. Qed.

Lemma dot_self_zero d u : dot d u u <= 0 -> forall c, (c < d)%nat -> u c = 0.
Proof.
  intros H c Hc.
  assert (u c * u c <= dot d u u).
  { apply (term_le_sum (fun c => u c * u c)); [intros; nra|now apply in_below]. }
  nra.
Qed.
