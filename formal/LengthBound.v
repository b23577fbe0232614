(* How many tokens a prompt must have: n outputs that linear functionals tell apart need n tokens.

   That v_1, ..., v_n are independent is given by functionals f_1, ..., f_n with f_i(v_k) = 0 for i <> k and f_k(v_k) = 1;
   value i z is f_i(V z). *)

From Coq Require Import Reals List Lra Lia.
From PromptCert Require Import Sums Attention Split Vectors.
Import ListNotations.
Open Scope R_scope.

(* m linear equations in more than m unknowns have a solution that is not zero: elimination of one unknown at a time. *)
Lemma more_unknowns_than_equations (m : nat) : forall (n : nat) (M : matrix R), (m < n)%nat ->
  exists x : vector R, (exists j, (j < n)%nat /\ x j <> 0) /\ forall i, (i < m)%nat -> dot n (M i) x = 0.
Proof.
  induction m as [|m IH]; intros n M Hn.
  - exists (fun _ => 1). split; [exists 0%nat; split; [lia|lra]|]. intros i Hi. lia.
  - destruct n as [|n]; [lia|].
    (* the last equation: does it involve any unknown? *)
    assert (D : (exists j, (j < S n)%nat /\ M m j <> 0) \/ forall j, (j < S n)%nat -> M m j = 0).
    { clear. generalize (M m) as v. intros v. generalize (S n) as k. induction k as [|k IHk].
      - right. intros; lia.
      - destruct IHk as [[j [Hj Hv]]|H]; [left; exists j; split; [lia|exact Hv]|].
        destruct (Req_dec (v k) 0) as [E|E].
        + right. intros j Hj. assert (j = k \/ j < k)%nat as [->|Hlt] by lia; auto.
        + left. exists k. split; [lia|exact E]. }
    destruct D as [[p [Hp Hne]]|H0].
    + (* solve it for unknown p and substitute *)
      set (skip := fun j => if (j <? p)%nat then j else S j).
      set (N := fun i j => M i (skip j) - M i p / M m p * M m (skip j)).
      destruct (IH n N ltac:(lia)) as [y [[j [Hj Hy]] HN]].
      set (yp := - dot n (fun j => M m (skip j)) y / M m p).
      set (x := fun j => if (j <? p)%nat then y j else if (j =? p)%nat then yp else y (j - 1)%nat).
      assert (Hx : forall j, x (skip j) = y j).
      { intros k. unfold x, skip. destruct (k <? p)%nat eqn:E.
        - now rewrite E.
        - apply Nat.ltb_ge in E. replace (S k <? p)%nat with false by (symmetry; apply Nat.ltb_ge; lia).
          replace (S k =? p)%nat with false by (symmetry; apply Nat.eqb_neq; lia). f_equal. lia. }
      assert (Hxp : x p = yp).
      { unfold x. rewrite Nat.ltb_irrefl, Nat.eqb_refl. reflexivity. }
      assert (Split : forall v : vector R, dot (S n) v x = dot n (fun j => v (skip j)) y + v p * yp).
      { intros v. unfold dot.
        assert (G : forall f : nat -> R, sum f (below (S n)) = sum (fun j => f (skip j)) (below n) + f p).
        { intros f. unfold below. replace (S n) with (p + S (n - p))%nat by lia. rewrite seq_app, sum_app. simpl.
          replace n with (p + (n - p))%nat at 2 by lia. rewrite seq_app, sum_app. simpl.
          rewrite <- seq_shift, sum_map.
          rewrite (sum_ext (fun j => f (skip j)) f (seq 0 p)).
          - rewrite (sum_ext (fun j => f (skip j)) (fun j => f (S j)) (seq p (n - p))); [ring|].
            intros k Hk. apply in_seq in Hk. unfold skip. replace (k <? p)%nat with false; [reflexivity|].
            symmetry. apply Nat.ltb_ge. lia.
          - intros k Hk. apply in_seq in Hk. unfold skip. replace (k <? p)%nat with true; [reflexivity|].
            symmetry. apply Nat.ltb_lt. lia. }
        rewrite G, Hxp. f_equal. apply sum_ext. intros k _. now rewrite Hx. }
      exists x. split.
      * exists (skip j). split; [|now rewrite Hx]. unfold skip. destruct (j <? p)%nat; lia.
      * intros i Hi. rewrite Split. unfold yp.
        assert (i = m \/ i < m)%nat as [->|Hlt] by lia; [field; exact Hne|].
        specialize (HN i Hlt). unfold N in HN.
        rewrite (dot_comm n _ y) in HN.
        rewrite (dot_minus_r n y (fun j => M i (skip j)) (fun j => M i p / M m p * M m (skip j))), dot_scale_r in HN.
        rewrite (dot_comm n y), (dot_comm n y (fun j => M m (skip j))) in HN.
        replace (M i p * (- dot n (fun j => M m (skip j)) y / M m p))
          with (- (M i p / M m p * dot n (fun j => M m (skip j)) y)) by (field; exact Hne).
        lra.
    + destruct (IH (S n) M ltac:(lia)) as [x [Hx HM]]. exists x. split; [exact Hx|].
      intros i Hi. assert (i = m \/ i < m)%nat as [->|Hlt] by lia; [now apply dot_zero_l|auto].
Qed.

(* A sum over a list, by positions. *)
Lemma sum_by_position {A} (f : A -> R) (l : list A) (default : A) :
  sum f l = sum (fun j => f (nth j l default)) (below (length l)).
Proof.
  unfold below. induction l as [|z l IH]; simpl; [reflexivity|]. rewrite <- seq_shift, sum_map, IH. reflexivity.
Qed.

Section Bound.
  Context {A : Type}.
  Variables (n : nat) (score : nat -> A -> R) (value : nat -> A -> R) (P : list A).

  (* n queries whose outputs on the prompt, seen by n functionals, are a diagonal matrix without a zero. *)
  Theorem outputs_need_tokens (gamma : nat -> R) :
    (forall k, (k < n)%nat -> gamma k <> 0) ->
    (forall i k, (i < n)%nat -> (k < n)%nat -> attention (score k) (value i) P = if Nat.eqb i k then gamma k else 0) ->
    (n <= length P)%nat.
  Proof.
    intros Hg H. destruct (le_lt_dec n (length P)) as [Hle|Hlt]; [exact Hle|exfalso].
    destruct P as [|z P'] eqn:EP.
    - (* without tokens all outputs are 0 *)
      simpl in Hlt. specialize (H 0%nat 0%nat Hlt Hlt). simpl in H. apply (Hg 0%nat Hlt). rewrite <- H.
      unfold attention, weighted. simpl. unfold Rdiv. ring.
    - rewrite <- EP in *. clear EP.
      set (M := fun j k => weight (score k) P (nth j P z)).
      destruct (more_unknowns_than_equations (length P) n M Hlt) as [x [[i [Hi Hx]] H0]].
      apply Hx. apply (Rmult_eq_reg_r (gamma i)); [|now apply Hg]. rewrite Rmult_0_l.
      transitivity (sum (fun k => x k * attention (score k) (value i) P) (below n)).
      + rewrite (sum_ext _ (fun k => if Nat.eqb i k then x k * gamma k else 0)).
        * symmetry. apply (sum_unit n i (fun k => x k * gamma k) Hi).
        * intros k Hk. apply in_below in Hk. rewrite (H i k Hi Hk). destruct (Nat.eqb i k); ring.
      + rewrite (sum_ext _ (fun k => sum (fun j => value i (nth j P z) * (M j k * x k)) (below (length P)))).
        * rewrite sum_swap. apply sum_zero. intros j Hj. apply in_below in Hj. rewrite sum_scale.
          specialize (H0 j Hj). unfold dot in H0. rewrite H0. ring.
        * intros k _. rewrite attention_weights, (sum_by_position _ P z), <- sum_scale.
          apply sum_ext. intros j _. unfold M. ring.
  Qed.

  (* The claim: queries k with contexts X k, asked for alpha_k v_k, context outputs beta_k v_k, v_1, ..., v_n independent
     (told apart by the functionals) and alpha_k <> lambda beta_k for all lambda in (0, 1): n tokens at least. *)
  Theorem length_bound (X : nat -> list A) (alpha beta : nat -> R) :
    P <> [] -> (forall k, (k < n)%nat -> X k <> []) ->
    (forall k lambda, (k < n)%nat -> 0 < lambda < 1 -> alpha k <> lambda * beta k) ->
    (forall i k, (i < n)%nat -> (k < n)%nat ->
       attention (score k) (value i) (P ++ X k) = if Nat.eqb i k then alpha k else 0) ->
    (forall i k, (i < n)%nat -> (k < n)%nat ->
       attention (score k) (value i) (X k) = if Nat.eqb i k then beta k else 0) ->
    (n <= length P)%nat.
  Proof.
    intros HP HX Hne Hout Hctx.
    set (l := fun k => lambda (score k) P (X k)).
    apply (outputs_need_tokens (fun k => (alpha k - l k * beta k) / (1 - l k))).
    - intros k Hk. pose proof (lambda_in_open_interval (score k) P (X k) HP (HX k Hk)) as Hl. fold (l k) in Hl.
      specialize (Hne k (l k) Hk Hl). unfold Rdiv. apply Rmult_integral_contrapositive_currified.
      + lra.
      + apply Rinv_neq_0_compat. lra.
    - intros i k Hi Hk. pose proof (lambda_in_open_interval (score k) P (X k) HP (HX k Hk)) as Hl.
      pose proof (attention_split (score k) (value i) P (X k) HP (HX k Hk)) as S.
      fold (l k) in Hl, S. rewrite (Hout i k Hi Hk), (Hctx i k Hi Hk) in S.
      apply (Rmult_eq_reg_l (1 - l k)); [|lra]. destruct (Nat.eqb i k).
      + replace ((1 - l k) * ((alpha k - l k * beta k) / (1 - l k))) with (alpha k - l k * beta k) by (field; lra). lra.
      + lra.
  Qed.
End Bound.
