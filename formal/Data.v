(* Layers and queries with rational numbers, the real ones they stand for, and computing with them. *)

From Coq Require Import Reals List Lra Lia QArith Qreals FunctionalExtensionality.
From PromptCert Require Import Sums Attention Vectors Rational Layer.
Import ListNotations.
Open Scope R_scope.

Definition real_head (h : head Q) : head R :=
  Head (size h) (real_matrix (W_q h)) (real_matrix (W_k h)) (real_matrix (W_v h)) (real_matrix (W_o h))
    (real_vector (b_q h)).

Definition real_mlp (m : mlp Q) : mlp R :=
  Mlp (units m) (real_matrix (W_1 m)) (real_vector (b_1 m)) (real_matrix (W_2 m)) (real_vector (b_2 m)).

Definition real_layer (L : layer Q) : layer R :=
  Layer (d L) (map real_head (heads L)) (real_mlp (feed_forward L)) (causal L).

Definition real_query (q : query Q) : query R := Query (map real_vector (X q)) (column q) (real_vector (target q)).

(* The functions of Layer.v, on rationals. *)
Definition qlogit_vector (d : nat) (h : head Q) (x : vector Q) : vector Q :=
  stored d (qapply (size h) (transposed (W_k h)) (stored (size h) (fun i => qplus (qapply d (W_q h) x i) (b_q h i)))).

Definition qvalue (d : nat) (h : head Q) (z : vector Q) : vector Q :=
  stored d (qapply (size h) (W_o h) (stored (size h) (qapply d (W_v h) z))).

(* V^T w *)
Definition qvalue_row (d : nat) (h : head Q) (w : vector Q) : vector Q :=
  stored d (qapply (size h) (transposed (W_v h)) (stored (size h) (qapply d (transposed (W_o h)) w))).

Definition qpre_activation (d : nat) (m : mlp Q) (z : vector Q) : vector Q :=
  fun i => qplus (qapply d (W_1 m) z i) (b_1 m i).

Definition qmlp_output (d : nat) (m : mlp Q) (z : vector Q) : vector Q :=
  fun c => qplus (qplus (z c) (qapply (units m) (W_2 m) (stored (units m) (fun i => qmax0 (qpre_activation d m z i))) c))
             (b_2 m c).

Definition qtoken_of (q : query Q) : vector Q := nth (column q) (X q) (fun _ => 0%Q).
Definition qcontext_of (L : layer Q) (q : query Q) : list (vector Q) :=
  if causal L then firstn (S (column q)) (X q) else X q.

(* Sums of rational coefficients are sums of their real values, stored or not. *)
Lemma qdot_stored d u v : real (qdot d u (stored d v)) = dot d (real_vector u) (real_vector v).
Proof.
  rewrite real_dot. apply dot_ext; [reflexivity|]. intros c Hc. unfold real_vector. now rewrite stored_entry.
Qed.

Lemma transposed_real M : real_matrix (transposed M) = transposed (real_matrix M).
Proof. reflexivity. Qed.

Lemma qlogit_vector_real d h x c :
  (c < d)%nat -> real (qlogit_vector d h x c) = logit_vector d (real_head h) (real_vector x) c.
Proof.
  intros Hc. unfold qlogit_vector. rewrite stored_entry by exact Hc. unfold qapply. rewrite qdot_stored.
  apply dot_ext; [reflexivity|]. intros i _. unfold real_vector at 1. rewrite real_plus. f_equal. apply real_dot.
Qed.

Lemma qvalue_real d h z c :
  (c < d)%nat -> real (qvalue d h z c) = value d (real_head h) (real_vector z) c.
Proof.
  intros Hc. unfold qvalue. rewrite stored_entry by exact Hc. unfold qapply. rewrite qdot_stored.
  apply dot_ext; [reflexivity|]. intros i _. apply real_dot.
Qed.

(* w . (V z) = (V^T w) . z *)
Lemma qvalue_row_real d h w z :
  dot d (real_vector w) (value d (real_head h) z) = dot d (real_vector (qvalue_row d h w)) z.
Proof.
  unfold value. rewrite dot_apply, dot_apply. apply dot_ext; [|reflexivity]. intros c Hc.
  unfold real_vector at 2. unfold qvalue_row. rewrite stored_entry by exact Hc. unfold qapply. rewrite qdot_stored.
  apply dot_ext; [reflexivity|]. intros i _. symmetry. apply real_dot.
Qed.

Lemma qpre_activation_real d m z i :
  real (qpre_activation d m z i) = pre_activation d (real_mlp m) (real_vector z) i.
Proof. unfold qpre_activation, pre_activation. rewrite real_plus. f_equal. apply real_dot. Qed.

Lemma qmlp_output_real d m z c :
  real (qmlp_output d m z c) = mlp_output d (real_mlp m) (real_vector z) c.
Proof.
  unfold qmlp_output, mlp_output. rewrite !real_plus. do 2 f_equal. unfold qapply. rewrite qdot_stored.
  apply dot_ext; [reflexivity|]. intros i _. unfold real_vector at 1. rewrite real_max0, qpre_activation_real.
  reflexivity.
Qed.

Lemma qtoken_of_real q : token_of (real_query q) = real_vector (qtoken_of q).
Proof.
  unfold token_of, qtoken_of. simpl.
  replace (fun _ : nat => 0) with (real_vector (fun _ => 0%Q)); [apply map_nth|].
  apply functional_extensionality. intros c. apply real_0.
Qed.

Lemma qcontext_of_real L q : context_of (real_layer L) (real_query q) = map real_vector (qcontext_of L q).
Proof. unfold context_of, qcontext_of. cbn [real_layer real_query causal X column]. destruct (causal L); [apply firstn_map|reflexivity]. Qed.
