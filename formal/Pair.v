(* Two queries with one logit vector that no prompt meets at once: the argument along one vector w.

   Along w, query k (context X_k) asks its head for the number alpha_k = w . a_k, that is
   alpha_k = attention (w . V) (P ++ X_k). The prompt acts on both queries through the same mass and the same
   weighted sum, which is all that is used: nothing is said about how many tokens it has. *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums Attention.
Import ListNotations.
Open Scope R_scope.

Section Pair.
  Context {A : Type}.
  Variables (score value : A -> R) (X_1 X_2 : list A).
  Notation S_1 := (mass score X_1).
  Notation S_2 := (mass score X_2).
  Notation B_1 := (weighted score value X_1).
  Notation B_2 := (weighted score value X_2).

  (* (S_k + s) alpha = B_k + s u, for the prompt's mass s and output u. *)
  Lemma prompted P X : P <> [] ->
    (mass score P + mass score X) * attention score value (P ++ X) = weighted score value P + weighted score value X.
  Proof.
    intros HP. rewrite <- mass_app, <- weighted_app. apply attention_mass.
    destruct P; [congruence|discriminate].
  Qed.

  (* Cone: the context outputs and the outputs asked for lie on opposite sides. One of the four is strict. *)
  Theorem cone P : P <> [] ->
    let alpha_1 := attention score value (P ++ X_1) in
    let alpha_2 := attention score value (P ++ X_2) in
    0 <= B_1 -> alpha_1 <= 0 -> B_2 <= 0 -> 0 <= alpha_2 ->
    0 < B_1 \/ alpha_1 < 0 \/ B_2 < 0 \/ 0 < alpha_2 -> False.
  Proof.
    intros HP alpha_1 alpha_2 H1 H2 H3 H4 H.
    pose proof (prompted P X_1 HP) as E1. pose proof (prompted P X_2 HP) as E2.
    fold alpha_1 in E1. fold alpha_2 in E2.
    pose proof (mass_pos score P HP). pose proof (mass_nonneg score X_1). pose proof (mass_nonneg score X_2).
    assert (0 < mass score P + S_1) by lra. assert (0 < mass score P + S_2) by lra.
    destruct H as [H|[H|[H|H]]]; nra.
  Qed.

  (* The same for context outputs A_k instead of the sums B_k = S_k A_k. *)
  Corollary cone_outputs P : P <> [] -> X_1 <> [] -> X_2 <> [] ->
    let alpha_1 := attention score value (P ++ X_1) in
    let alpha_2 := attention score value (P ++ X_2) in
    let A_1 := attention score value X_1 in
    let A_2 := attention score value X_2 in
    alpha_1 <= 0 <= A_1 -> A_2 <= 0 <= alpha_2 ->
    0 < A_1 \/ alpha_1 < 0 \/ A_2 < 0 \/ 0 < alpha_2 -> False.
  Proof.
    intros HP HX1 HX2 alpha_1 alpha_2 A_1 A_2 [H1 H2] [H3 H4] H.
    pose proof (attention_mass score value X_1 HX1) as E1. pose proof (attention_mass score value X_2 HX2) as E2.
    fold A_1 in E1. fold A_2 in E2.
    pose proof (mass_pos score X_1 HX1). pose proof (mass_pos score X_2 HX2).
    apply (cone P HP); fold alpha_1 alpha_2; try nra.
  Qed.

  (* Closeness: M_1 and m_2 bound what is asked for. One of the two is strict. *)
  Theorem closeness P M_1 m_2 : P <> [] ->
    attention score value (P ++ X_1) <= M_1 -> m_2 <= attention score value (P ++ X_2) ->
    M_1 <= m_2 -> 0 <= B_1 - B_2 - S_1 * M_1 + S_2 * m_2 ->
    M_1 < m_2 \/ 0 < B_1 - B_2 - S_1 * M_1 + S_2 * m_2 -> False.
  Proof.
    intros HP H1 H2 H3 H4 H.
    pose proof (prompted P X_1 HP) as E1. pose proof (prompted P X_2 HP) as E2.
    pose proof (mass_pos score P HP). pose proof (mass_nonneg score X_1). pose proof (mass_nonneg score X_2).
    set (a_1 := attention score value (P ++ X_1)) in *. set (a_2 := attention score value (P ++ X_2)) in *.
    set (s := mass score P) in *. set (U := weighted score value P) in *.
    assert (F1 : (s + S_1) * a_1 <= (s + S_1) * M_1) by (apply Rmult_le_compat_l; lra).
    assert (F2 : (s + S_2) * m_2 <= (s + S_2) * a_2) by (apply Rmult_le_compat_l; lra).
    assert (F3 : s * M_1 <= s * m_2) by (apply Rmult_le_compat_l; lra).
    destruct H as [H|H]; [|nra].
    assert (s * M_1 < s * m_2) by (apply Rmult_lt_compat_l; lra). nra.
  Qed.
End Pair.

(* Head-wise: a layer adds up its heads, each with its own scores and so with its own lambda. Along a w that only
   head i reaches, the layer's output is that of head i. *)
Section Heads.
  Context {A I : Type}.
  Variables (score value : I -> A -> R) (heads : list I).

  Definition heads_output (Z : list A) : R := sum (fun i => attention (score i) (value i) Z) heads.

  Lemma one_head_counts front i back Z :
    heads = front ++ i :: back -> (forall j, In j front \/ In j back -> forall z, value j z = 0) ->
    heads_output Z = attention (score i) (value i) Z.
  Proof.
    intros Hh H. unfold heads_output. rewrite Hh, sum_app. simpl.
    assert (E : forall j, In j front \/ In j back -> attention (score j) (value j) Z = 0).
    { intros j Hj. unfold attention, weighted. rewrite sum_zero; [unfold Rdiv; ring|].
      intros z _. rewrite H by exact Hj. ring. }
    rewrite !(sum_zero (fun j => attention (score j) (value j) Z)); [ring| |]; intros j Hj; apply E; auto.
  Qed.

  Theorem cone_of_one_head front i back X_1 X_2 P :
    heads = front ++ i :: back -> (forall j, In j front \/ In j back -> forall z, value j z = 0) -> P <> [] ->
    let alpha_1 := heads_output (P ++ X_1) in
    let alpha_2 := heads_output (P ++ X_2) in
    let B_1 := weighted (score i) (value i) X_1 in
    let B_2 := weighted (score i) (value i) X_2 in
    0 <= B_1 -> alpha_1 <= 0 -> B_2 <= 0 -> 0 <= alpha_2 ->
    0 < B_1 \/ alpha_1 < 0 \/ B_2 < 0 \/ 0 < alpha_2 -> False.
  Proof.
    intros Hh Hz HP. cbv zeta. rewrite !(one_head_counts front i back) by assumption.
    intros. now apply (cone (score i) (value i) X_1 X_2 P).
  Qed.

  Theorem closeness_of_one_head front i back X_1 X_2 P M_1 m_2 :
    heads = front ++ i :: back -> (forall j, In j front \/ In j back -> forall z, value j z = 0) -> P <> [] ->
    let B_1 := weighted (score i) (value i) X_1 in
    let B_2 := weighted (score i) (value i) X_2 in
    let S_1 := mass (score i) X_1 in
    let S_2 := mass (score i) X_2 in
    heads_output (P ++ X_1) <= M_1 -> m_2 <= heads_output (P ++ X_2) ->
    M_1 <= m_2 -> 0 <= B_1 - B_2 - S_1 * M_1 + S_2 * m_2 ->
    M_1 < m_2 \/ 0 < B_1 - B_2 - S_1 * M_1 + S_2 * m_2 -> False.
  Proof.
    intros Hh Hz HP. cbv zeta. rewrite !(one_head_counts front i back) by assumption.
    intros. now apply (closeness (score i) (value i) X_1 X_2 P M_1 m_2).
  Qed.
End Heads.
