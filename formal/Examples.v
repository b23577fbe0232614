(* The words of Layer.v mean something: a query that a prompt meets, and one that no prompt meets. Both layers have d = 1,
   one head with W_q = 0 (uniform attention), V = 1 and no MLP; the context is the token 0 alone. *)

From Coq Require Import Reals List Lra Lia.
From PromptCert Require Import Sums Attention Vectors Layer Collapse.
Import ListNotations.
Open Scope R_scope.

Definition constant (x : R) : vector R := fun _ => x.
Definition one_by_one (x : R) : matrix R := fun _ _ => x.
Definition uniform_head : head R := Head 1 (one_by_one 0) (one_by_one 0) (one_by_one 1) (one_by_one 1) (constant 0).
Definition uniform_layer_1 : layer R := Layer 1 [uniform_head] (Mlp 0 (one_by_one 0) (constant 0) (one_by_one 0) (constant 0)) false.
Definition asked_for (y : R) : query R := Query [constant 0] 0 (constant y).

(* The output at the token 0 is the mean of prompt and token. *)
Lemma output_is_mean P : layer_output uniform_layer_1 (constant 0) (P ++ [constant 0]) 0%nat = sum (fun p => p 0%nat) P / (INR (length P) + 1).
Proof.
  unfold layer_output, mlp_output, mlp_input. cbn [uniform_layer_1 d heads feed_forward units W_2 b_2 sum].
  rewrite uniform_attention.
  - unfold apply at 1, dot at 1. unfold below, seq, sum at 1. unfold value, apply, dot, below. cbn [uniform_head size seq sum W_o W_v].
    unfold one_by_one, constant, mean. rewrite sum_app, app_length, plus_INR. simpl. pose proof (pos_INR (length P)). field. lra.
  - intros k Hk. unfold logit_vector, apply, dot, below. cbn [uniform_head size seq sum W_q W_k b_q]. unfold transposed, one_by_one, constant. ring.
  - destruct P; discriminate.
Qed.

(* One token 2 y makes the output y. *)
Theorem some_prompt_meets (y : R) : meets uniform_layer_1 [constant (2 * y)] (asked_for y).
Proof.
  intros c Hc. simpl in Hc. assert (c = 0%nat) as -> by lia.
  change (layer_output uniform_layer_1 (constant 0) ([constant (2 * y)] ++ [constant 0]) 0%nat = y).
  rewrite output_is_mean. simpl. unfold constant. field.
Qed.

(* And no prompt makes it both 0 and 1. *)
Theorem no_prompt_meets_both : no_prompt_meets uniform_layer_1 [asked_for 0; asked_for 1].
Proof.
  intros P _ H.
  pose proof (H (asked_for 0) (or_introl eq_refl) 0%nat ltac:(simpl; lia)) as H0.
  pose proof (H (asked_for 1) (or_intror (or_introl eq_refl)) 0%nat ltac:(simpl; lia)) as H1.
  change (layer_output uniform_layer_1 (constant 0) (P ++ [constant 0]) 0%nat = 0) in H0.
  change (layer_output uniform_layer_1 (constant 0) (P ++ [constant 0]) 0%nat = 1) in H1.
  lra.
Qed.
