(* Attention split: with a prompt in front, the output of a head is between its outputs on the context alone and on
   the prompt alone, and how far between depends on the masses only. *)

From Coq Require Import Reals List Lra.
From PromptCert Require Import Sums Attention.
Import ListNotations.
Open Scope R_scope.

Section Split.
  Context {A : Type}.
  Variables (score value : A -> R) (P X : list A).
  Hypotheses (HP : P <> []) (HX : X <> []).

  (* lambda = S(X) / (S(X) + S(P)) *)
  Definition lambda : R := mass score X / (mass score X + mass score P).

  Theorem lambda_in_open_interval : 0 < lambda < 1.
  Proof.
    pose proof (mass_pos score P HP). pose proof (mass_pos score X HX). unfold lambda. split.
    - apply Rdiv_lt_0_compat; lra.
    - apply Rmult_lt_reg_r with (mass score X + mass score P); [lra|]. field_simplify; lra.
  Qed.

  (* Att(x, [P, X]) = lambda Att(x, X) + (1 - lambda) Att(x, P) *)
  Theorem attention_split :
    attention score value (P ++ X) = lambda * attention score value X + (1 - lambda) * attention score value P.
  Proof.
    pose proof (mass_pos score P HP). pose proof (mass_pos score X HX).
    unfold lambda, attention. rewrite mass_app, weighted_app. field. lra.
  Qed.
End Split.
