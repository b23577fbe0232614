(* The prompt law for one query: log S = q . p-bar + H with 0 <= H <= log m_p, and its explicit converse.

   Here a token's value is its own score, so attention score score P is q . p-bar, the score of the mean token. *)

From Coq Require Import Reals List Lra Lia Psatz.
From PromptCert Require Import Sums Attention.
Import ListNotations.
Open Scope R_scope.

(* log x <= x - 1: all inequalities of this file and of SeveralQueries.v come from here. *)
Lemma ln_le_minus_1 x : 0 < x -> ln x <= x - 1.
Proof.
  intros H. destruct (Req_dec (ln x) 0) as [E|E].
  - rewrite <- (exp_ln x H) at 2. rewrite E, exp_0. lra.
  - pose proof (exp_ineq1 (ln x) E). rewrite exp_ln in *; lra.
Qed.

Lemma ln_lt_minus_1 x : 0 < x -> x <> 1 -> ln x < x - 1.
Proof.
  intros H Hx. assert (E : ln x <> 0).
  { intros E. apply Hx. rewrite <- (exp_ln x H), E. apply exp_0. }
  pose proof (exp_ineq1 (ln x) E). rewrite exp_ln in *; lra.
Qed.

(* The entropy of the weights that a query gives to the tokens of a prompt: H = - sum of w log w. *)
Definition entropy {A : Type} (score : A -> R) (P : list A) : R :=
  - sum (fun z => weight score P z * ln (weight score P z)) P.

Section Law.
  Context {A : Type}.
  Variables (score : A -> R) (P : list A).
  Hypothesis HP : P <> [].
  Notation w := (weight score P).

  Lemma score_from_weight z : score z = ln (mass score P) + ln (w z).
  Proof.
    pose proof (mass_pos score P HP). unfold weight, Rdiv.
    rewrite ln_mult; [|apply exp_pos|now apply Rinv_0_lt_compat].
    rewrite ln_exp, ln_Rinv by assumption. ring.
  Qed.

  (* log S = q . p-bar + H *)
  Theorem prompt_law : ln (mass score P) = attention score score P + entropy score P.
  Proof.
    rewrite attention_weights. unfold entropy.
    rewrite (sum_ext (fun z => w z * score z) (fun z => w z * ln (mass score P) + w z * ln (w z)))
      by (intros z _; rewrite (score_from_weight z); ring).
    rewrite sum_plus, sum_scale_r, weight_sum by exact HP. ring.
  Qed.

  Theorem entropy_nonneg : 0 <= entropy score P.
  Proof.
    unfold entropy. rewrite <- Ropp_0. apply Ropp_le_contravar.
    apply Rle_trans with (sum (fun _ : A => 0) P); [|rewrite sum_const; lra].
    apply sum_le. intros z Hz. pose proof (weight_pos score P z HP). pose proof (weight_le_1 score P z Hz).
    pose proof (ln_le_minus_1 (w z)). nra.
  Qed.

  (* H <= log m_p *)
  Theorem entropy_le_log_length : entropy score P <= ln (INR (length P)).
  Proof.
    assert (Hm : 0 < INR (length P)) by (apply lt_0_INR; destruct P; [congruence|simpl; lia]).
    set (m := INR (length P)) in *.
    assert (E : sum (fun z => w z * (- ln m - ln (w z))) P <= 0).
    { apply Rle_trans with (sum (fun z => / m - w z) P).
      - apply sum_le. intros z _. pose proof (weight_pos score P z HP) as Hw.
        assert (0 < / m) by now apply Rinv_0_lt_compat.
        replace (- ln m - ln (w z)) with (ln (/ m * / w z)).
        + assert (Hx : 0 < / m * / w z) by (apply Rmult_lt_0_compat; [assumption|now apply Rinv_0_lt_compat]).
          pose proof (ln_le_minus_1 _ Hx).
          apply Rle_trans with (w z * (/ m * / w z - 1)); [apply Rmult_le_compat_l; lra|].
          right. field. lra.
        + rewrite ln_mult, !ln_Rinv; try assumption; [ring|now apply Rinv_0_lt_compat].
      - rewrite sum_minus, sum_const, weight_sum by exact HP. fold m. right. field. lra. }
    rewrite (sum_ext _ (fun z => w z * - ln m - w z * ln (w z))) in E by (intros; ring).
    rewrite sum_minus, sum_scale_r, weight_sum in E by exact HP. unfold entropy. lra.
  Qed.

  (* Two tokens or more: 0 < H. *)
  Theorem entropy_pos : (2 <= length P)%nat -> 0 < entropy score P.
  Proof.
    intros Hl. unfold entropy. rewrite <- Ropp_0. apply Ropp_lt_contravar.
    assert (Hw : forall z, In z P -> w z < 1).
    { intros z Hz. destruct (in_split z P Hz) as [front [back E]].
      assert (Hs : w z + sum w (front ++ back) = 1).
      { rewrite <- (weight_sum score P HP). rewrite E at 4. rewrite !sum_app. simpl. ring. }
      assert (0 < sum w (front ++ back)); [|lra].
      apply sum_pos; [|intros; now apply weight_pos].
      intros Hn. rewrite E, app_length in Hl. simpl in Hl.
      apply app_eq_nil in Hn. destruct Hn as [-> ->]. simpl in Hl. lia. }
    apply Ropp_lt_cancel. rewrite Ropp_0.
    replace (- sum (fun z => w z * ln (w z)) P) with (sum (fun z => w z * - ln (w z)) P).
    - apply sum_pos; [exact HP|]. intros z Hz.
      pose proof (weight_pos score P z HP) as H0. specialize (Hw z Hz).
      pose proof (ln_lt_minus_1 (w z) H0). nra.
    - rewrite (sum_ext _ (fun z => (-1) * (w z * ln (w z)))) by (intros; ring). rewrite sum_scale. ring.
  Qed.
End Law.

(* One token: H = 0. *)
Theorem entropy_one_token {A : Type} (score : A -> R) (p : A) : entropy score [p] = 0.
Proof.
  unfold entropy, weight, mass. simpl. pose proof (exp_pos (score p)).
  replace (exp (score p) / (exp (score p) + 0)) with 1 by (field; lra). rewrite ln_1. ring.
Qed.

(* The converse. Tokens are vectors with coordinates in any list (0, ..., d - 1). *)
Section Converse.
  Variables (coordinates : list nat) (q mean : nat -> R) (S : R) (w : list R).
  Definition dot (u v : nat -> R) : R := sum (fun c => u c * v c) coordinates.
  Hypotheses (Hq : dot q q <> 0) (HS : 0 < S).
  Hypotheses (Hw : forall x, In x w -> 0 < x) (Hsum : sum (fun x => x) w = 1).

  Definition entropy_of_weights : R := - sum (fun x => x * ln x) w.
  Hypothesis Hlaw : ln S = dot q mean + entropy_of_weights.

  (* p_j = p-bar + ((log S + log w_j - q . p-bar) / |q|^2) q *)
  Definition token (x : R) : nat -> R := fun c => mean c + (ln S + ln x - dot q mean) / dot q q * q c.
  Definition prompt : list (nat -> R) := map token w.

  Lemma token_score x : dot q (token x) = ln S + ln x.
  Proof.
    unfold dot at 1, token.
    rewrite (sum_ext _ (fun c => q c * mean c + (ln S + ln x - dot q mean) / dot q q * (q c * q c)))
      by (intros; ring).
    rewrite sum_plus, sum_scale. fold (dot q mean) (dot q q). field. exact Hq.
  Qed.

  Theorem converse_length : length prompt = length w.
  Proof. apply map_length. Qed.

  (* The mass of this prompt is S, ... *)
  Theorem converse_mass : mass (dot q) prompt = S.
  Proof.
    unfold mass, prompt. rewrite sum_map.
    rewrite (sum_ext _ (fun x => S * x)).
    - rewrite sum_scale, Hsum. ring.
    - intros x Hx. rewrite token_score, exp_plus, !exp_ln by auto. reflexivity.
  Qed.

  (* ... and every coordinate of its mean is that of p-bar. *)
  Theorem converse_mean c : attention (dot q) (fun p => p c) prompt = mean c.
  Proof.
    unfold attention. rewrite converse_mass. unfold weighted, prompt. rewrite sum_map.
    rewrite (sum_ext _ (fun x => S * mean c * x + S / dot q q * q c * ((ln S - dot q mean) * x + x * ln x))).
    - rewrite !sum_plus, !sum_scale, sum_plus, sum_scale, Hsum.
      unfold entropy_of_weights in Hlaw.
      replace (sum (fun x => x * ln x) w) with (dot q mean - ln S) by lra.
      field. repeat split; try exact Hq; lra.
    - intros x Hx. rewrite token_score, exp_plus, !exp_ln by auto. unfold token. field. exact Hq.
  Qed.
End Converse.
