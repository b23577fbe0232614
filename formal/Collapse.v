(* The collapse: layers of uniform attention, each invertible, that forget the input behind every prompt.

   With W_q = 0 every token attends to the mean mu, so a layer adds V mu (and b_2) to every token, and the mean becomes
   (1 + V) mu. Differences of tokens never change. *)

From Coq Require Import Reals List Lra Lia Psatz FunctionalExtensionality.
From PromptCert Require Import Sums Attention Vectors Layer Preimage.
Import ListNotations.
Open Scope R_scope.

Definition zero : vector R := fun _ => 0.

(* mu: the mean of the tokens *)
Definition mean (Z : list (vector R)) : vector R := fun c => sum (fun z => z c) Z / INR (length Z).

Definition shift (t : vector R) (Z : list (vector R)) : list (vector R) := map (fun z c => z c + t c) Z.

Lemma mean_shift t Z c : Z <> [] -> mean (shift t Z) c = mean Z c + t c.
Proof.
  intros H. unfold mean, shift. rewrite sum_map, map_length. cbv beta.
  rewrite (sum_plus (fun z : vector R => z c) (fun _ => t c)), sum_const.
  assert (INR (length Z) <> 0) by (destruct Z; [congruence|apply not_0_INR; discriminate]). field. assumption.
Qed.

Lemma shift_shift t u Z : shift u (shift t Z) = shift (fun c => t c + u c) Z.
Proof.
  unfold shift. rewrite map_map. apply map_ext. intros z. apply functional_extensionality. intros c. ring.
Qed.

(* One head whose logit vectors vanish, and no hidden units. *)
Definition uniform (L : layer R) (h : head R) : Prop :=
  heads L = [h] /\ (forall x c, (c < d L)%nat -> logit_vector (d L) h x c = 0)
  /\ units (feed_forward L) = 0%nat /\ (forall c, (c < d L)%nat -> b_2 (feed_forward L) c = 0).

Definition step_of (L : layer R) (h : head R) (Z : list (vector R)) : vector R :=
  fun c => value (d L) h (mean Z) c + b_2 (feed_forward L) c.

Lemma uniform_attention d h x Z c :
  (forall k, (k < d)%nat -> logit_vector d h x k = 0) -> Z <> [] -> head_output d h x Z c = value d h (mean Z) c.
Proof.
  intros Hq HZ. unfold head_output.
  rewrite (attention_ext _ (fun _ => 0) _ (fun z => value d h z c)) by (reflexivity || (intros; apply dot_zero_l; exact Hq)).
  assert (Hn : INR (length Z) <> 0) by (destruct Z; [congruence|apply not_0_INR; discriminate]).
  unfold attention, weighted, mass. rewrite exp_0, sum_const.
  rewrite (sum_ext (fun z => 1 * value d h z c) (fun z => sum (fun i => sum (fun k => W_o h c i * W_v h i k * z k) (below d)) (below (size h)))).
  - unfold value, apply at 1, dot. rewrite sum_swap.
    replace (INR (length Z) * 1) with (INR (length Z)) by ring. unfold Rdiv. rewrite <- sum_scale_r.
    apply sum_ext. intros i _. rewrite sum_swap, <- sum_scale_r. unfold apply, dot. rewrite <- sum_scale.
    apply sum_ext. intros k _. unfold mean. rewrite sum_scale. unfold Rdiv. ring.
  - intros z _. rewrite Rmult_1_l. unfold value, apply at 1, dot. apply sum_ext. intros i _.
    unfold apply, dot. rewrite <- sum_scale. apply sum_ext. intros. ring.
Qed.

(* A layer adds V mu to every token. *)
Theorem uniform_layer L h Z : uniform L h -> Z <> [] -> layer_map L Z = shift (step_of L h Z) Z.
Proof.
  intros (Hh & Hq & Hr & _) HZ. unfold layer_map, shift. apply map_ext. intros x.
  apply functional_extensionality. intros c. unfold layer_output, mlp_output, mlp_input, step_of.
  rewrite Hr, Hh. cbn [sum]. rewrite uniform_attention by (try apply Hq; assumption).
  unfold apply at 1, dot at 1. cbn [below seq sum]. unfold below. simpl. ring.
Qed.

(* The stack of L_1, ..., L_n with heads h_1, ..., h_n: means go through 1 + V_1, ..., 1 + V_n. *)
Definition uniform_stack (layers : list (layer R)) (hs : list (head R)) (d_0 : nat) : Prop :=
  Forall2 (fun L h => uniform L h /\ d L = d_0) layers hs.

Definition mean_through (d_0 : nat) (hs : list (head R)) (mu : vector R) : vector R :=
  fold_left (fun mu h c => mu c + value d_0 h mu c) hs mu.

Lemma value_ext d h u v c : (forall k, (k < d)%nat -> u k = v k) -> value d h u c = value d h v c.
Proof.
  intros H. apply dot_ext; [reflexivity|]. intros i _. apply dot_ext; [reflexivity|exact H].
Qed.

Lemma mean_through_ext d_0 hs : forall u v, (forall k, (k < d_0)%nat -> u k = v k) ->
  forall k, (k < d_0)%nat -> mean_through d_0 hs u k = mean_through d_0 hs v k.
Proof.
  induction hs as [|h hs IH]; intros u v H k Hk; simpl; [now apply H|].
  apply IH; [|exact Hk]. intros i Hi. rewrite (H i Hi). f_equal. now apply value_ext.
Qed.

Lemma stack_shifts d_0 layers : forall hs Z, uniform_stack layers hs d_0 -> Z <> [] ->
  exists t, stack_output layers Z = shift t Z
            /\ forall c, (c < d_0)%nat -> mean Z c + t c = mean_through d_0 hs (mean Z) c.
Proof.
  induction layers as [|L layers IH]; intros hs Z H HZ; inversion H as [|? h ? hs' [Hu Hd] Hrest]; subst.
  - exists zero. split.
    + unfold shift, zero. simpl. rewrite <- (map_id Z) at 1. apply map_ext. intros z.
      apply functional_extensionality. intros c. ring.
    + intros c _. unfold zero. simpl. ring.
  - set (t := step_of L h Z).
    destruct (IH hs' (shift t Z) Hrest) as [u [E Hm]].
    { unfold shift. destruct Z; [congruence|discriminate]. }
    exists (fun c => t c + u c). split.
    + change (stack_output layers (layer_map L Z) = shift (fun c => t c + u c) Z).
      rewrite (uniform_layer L h Z Hu HZ). fold t. rewrite E. apply shift_shift.
    + intros c Hc. specialize (Hm c Hc). rewrite mean_shift in Hm by exact HZ.
      rewrite <- Rplus_assoc, Hm.
      change (mean_through (d L) (h :: hs') (mean Z) c)
        with (mean_through (d L) hs' (fun k => mean Z k + value (d L) h (mean Z) k) c).
      apply mean_through_ext; [|exact Hc]. intros k Hk.
      rewrite mean_shift by exact HZ. unfold t, step_of. destruct Hu as (_ & _ & _ & Hb). rewrite (Hb k Hk). ring.
Qed.

(* If (1 + V_n) ... (1 + V_1) = - m_p, the output at the input token is minus the sum of the prompt. *)
Theorem collapse d_0 layers hs m_p : uniform_stack layers hs d_0 ->
  (forall mu c, (c < d_0)%nat -> mean_through d_0 hs mu c = - INR m_p * mu c) ->
  forgets_its_input d_0 layers m_p.
Proof.
  intros H HW P x HP c Hc.
  assert (HZ : P ++ [x] <> []) by (destruct P; discriminate).
  destruct (stack_shifts d_0 layers hs (P ++ [x]) H HZ) as [t [E Hm]]. rewrite E.
  unfold shift. rewrite map_app. simpl map. rewrite last_last.
  specialize (Hm c Hc). rewrite HW in Hm by exact Hc.
  unfold mean in Hm. rewrite app_length, sum_app, HP in Hm. cbn [length sum] in Hm.
  rewrite plus_INR in Hm. simpl (INR 1) in Hm. pose proof (pos_INR m_p).
  replace (t c) with (- (INR m_p + 1) * ((sum (fun z => z c) P + (x c + 0)) / (INR m_p + 1))) by lra.
  field. lra.
Qed.

Lemma same_length d Z Z' : same d Z Z' -> length Z = length Z'.
Proof. intros H. induction H; simpl; congruence. Qed.

(* A value map that shrinks every vector makes 1 + V injective, and so the stack. *)
Theorem collapse_injective d_0 layers : forall hs M, uniform_stack layers hs d_0 -> M <> 0%nat ->
  (forall h, In h hs -> forall v, dot d_0 v v <= dot d_0 (value d_0 h v) (value d_0 h v) -> forall c, (c < d_0)%nat -> v c = 0) ->
  injective d_0 layers M.
Proof.
  induction layers as [|L layers IH]; intros hs M H HM Hv Z Z' HZ HZ' Hs;
    inversion H as [|? h ? hs' [Hu Hd] Hrest]; subst; [exact Hs|].
  assert (N : Z <> []) by (destruct Z; [contradiction HM; reflexivity|discriminate]).
  assert (N' : Z' <> []) by (destruct Z'; [contradiction HM; symmetry; exact HZ'|discriminate]).
  simpl in Hs. rewrite (uniform_layer L h Z Hu N), (uniform_layer L h Z' Hu N') in Hs.
  assert (S' : same (d L) (shift (step_of L h Z) Z) (shift (step_of L h Z') Z')).
  { apply (IH hs' (length Z) Hrest HM (fun k Hk => Hv k (or_intror Hk)));
      [apply map_length|unfold shift; rewrite map_length; exact HZ'|exact Hs]. }
  clear Hs IH.
  (* the means agree, since (1 + V) applied to both does *)
  assert (Hmean : forall c, (c < d L)%nat -> mean Z c = mean Z' c).
  { assert (Hsum : forall c, (c < d L)%nat -> mean (shift (step_of L h Z) Z) c = mean (shift (step_of L h Z') Z') c).
    { intros c Hc. unfold mean. rewrite (same_length _ _ _ S'). f_equal.
      clear -S' Hc. induction S' as [|z z' Y Y' E _ IHS]; simpl; [reflexivity|]. now rewrite (E c Hc), IHS. }
    set (delta := fun c => mean Z c - mean Z' c).
    assert (Hdelta : forall c, (c < d L)%nat -> value (d L) h delta c = - delta c).
    { intros c Hc. specialize (Hsum c Hc). rewrite !mean_shift in Hsum by assumption.
      unfold step_of in Hsum. destruct Hu as (_ & _ & _ & Hb). rewrite (Hb c Hc) in Hsum.
      assert (Lin : value (d L) h delta c = value (d L) h (mean Z) c - value (d L) h (mean Z') c).
      { unfold value, apply at 1 3 5, delta. rewrite <- dot_minus_r. apply dot_ext; [reflexivity|]. intros i _.
        unfold apply. apply dot_minus_r. }
      unfold delta at 2. lra. }
    intros c Hc. assert (D : delta c = 0); [|unfold delta in D; lra].
    apply (Hv h (or_introl eq_refl) delta); [|exact Hc].
    right. apply sum_ext. intros k Hk. apply in_below in Hk. rewrite (Hdelta k Hk). ring. }
  assert (Ht : forall c, (c < d L)%nat -> step_of L h Z c = step_of L h Z' c).
  { intros c Hc. unfold step_of. f_equal. now apply value_ext. }
  clear -S' Ht. revert S' Ht. generalize (step_of L h Z) (step_of L h Z'). intros t t' S' Ht.
  revert Z' S'. induction Z as [|z Z IH]; intros [|z' Z'] S'; simpl in S'; inversion S'; subst; constructor.
  - intros c Hc. match goal with E : forall c, _ -> _ + t c = _ |- _ => specialize (E c Hc) end.
    specialize (Ht c Hc). lra.
  - now apply IH.
Qed.
