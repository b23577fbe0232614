(* The contextual mapping for every grid: no column fires twice, and a shift by G >= c^n ((n - 1) U k + c) gives all read
   columns of all contexts different ids (any G >= 0 where only one column is read).

   l j is the id of column j before the sweep, s j after it:
   s 0 = l 0 + c (l (n-1) - l 0), s (j+1) = c s j - (c - 1) l (j+1). *)

From Coq Require Import ZArith List Lia Bool Psatz Sorting.Sorted.
From PromptCert Require Import ContextualMapping.
Import ListNotations.
Open Scope Z_scope.

Lemma largest_is ids top : In top ids -> (forall x, In x ids -> x <= top) -> largest ids = top.
Proof.
  intros Hin Hle. unfold largest.
  assert (U : forall l start, start <= top -> (forall x, In x l -> x <= top) -> fold_right Z.max start l <= top).
  { induction l as [|z l IH]; intros start Hs Hl; simpl; [exact Hs|]. apply Z.max_lub; [apply Hl; simpl; auto|].
    apply IH; [exact Hs|]. intros; apply Hl; simpl; auto. }
  assert (D : forall l start, In top l -> top <= fold_right Z.max start l).
  { induction l as [|z l IH]; intros start Hl; simpl; [destruct Hl|].
    destruct Hl as [->|Hl]; [lia|]. specialize (IH start Hl). lia. }
  assert (Hhd : hd 0 ids <= top) by (apply Hle; destruct ids; [destruct Hin|simpl; auto]).
  specialize (U ids _ Hhd Hle). specialize (D ids (hd 0 ids) Hin). lia.
Qed.

Lemma smallest_is ids bottom : In bottom ids -> (forall x, In x ids -> bottom <= x) -> smallest ids = bottom.
Proof.
  intros Hin Hle. unfold smallest.
  assert (U : forall l start, bottom <= start -> (forall x, In x l -> bottom <= x) -> bottom <= fold_right Z.min start l).
  { induction l as [|z l IH]; intros start Hs Hl; simpl; [exact Hs|]. apply Z.min_glb; [apply Hl; simpl; auto|].
    apply IH; [exact Hs|]. intros; apply Hl; simpl; auto. }
  assert (D : forall l start, In bottom l -> fold_right Z.min start l <= bottom).
  { induction l as [|z l IH]; intros start Hl; simpl; [destruct Hl|].
    destruct Hl as [->|Hl]; [lia|]. specialize (IH start Hl). lia. }
  assert (Hhd : bottom <= hd 0 ids) by (apply Hle; destruct ids; [destruct Hin|simpl; auto]).
  specialize (U ids _ Hhd Hle). specialize (D ids (hd 0 ids) Hin). lia.
Qed.

Lemma nth_map_seq (f : nat -> Z) n j : (j < n)%nat -> nth j (map f (seq 0 n)) 0 = f j.
Proof.
  intros H. rewrite (nth_indep _ 0 (f 0%nat)) by (rewrite map_length, seq_length; exact H).
  rewrite map_nth, seq_nth by exact H. reflexivity.
Qed.

(* The sweep on numbers l 0 < l 1 < ... < l (N - 1), all of them among the layers vs. *)
Section Sweep.
  Variables (c : Z) (N : nat) (l : nat -> Z).

  Fixpoint swept (j : nat) : Z :=
    match j with
    | O => c * l (N - 1)%nat - (c - 1) * l 0%nat
    | S i => c * swept i - (c - 1) * l (S i)
    end.
  Notation s := swept.

  Variable top : Z. (* above all possible ids, and below all lifted ones *)
  Hypotheses (Hc : 2 <= c) (HN : (0 < N)%nat).
  Hypothesis l_increases : forall i j, (i < j < N)%nat -> l i < l j.
  Hypothesis l_below : forall j, (j < N)%nat -> l j <= top.
  Hypothesis s_0_above : top < s 0%nat.

  Lemma swept_above j : (j < N)%nat -> top < s j /\ forall i, (i < j)%nat -> s i < s j.
  Proof.
    induction j as [|j IH]; intros Hj.
    - split; [exact s_0_above|]. intros i Hi. lia.
    - destruct IH as [H1 H2]; [lia|]. pose proof (l_below (S j) Hj) as Hl.
      assert (s j < s (S j)). { cbn [swept]. nia. }
      split; [lia|]. intros i Hi. assert (i = j \/ i < j)%nat as [->|Hlt] by lia; [assumption|].
      specialize (H2 i Hlt). lia.
  Qed.

  Definition state (t : Z) : list Z := map (fun j => if l j <? t then s j else l j) (seq 0 N).

  Lemma lift_step v : v <= top -> lift c v (state v) = state (v + 1).
  Proof.
    intros Hv. unfold lift. unfold state at 3 4. rewrite map_map. apply map_ext_in. intros j Hj. apply in_seq in Hj.
    destruct (swept_above j ltac:(lia)) as [Hs _].
    destruct (Z.ltb_spec (l j) v) as [Hlt|Hge].
    - destruct (Z.eqb_spec (s j) v) as [E|_]; [lia|]. destruct (Z.ltb_spec (l j) (v + 1)); [reflexivity|lia].
    - destruct (Z.eqb_spec (l j) v) as [E|Hne].
      + destruct (Z.ltb_spec (l j) (v + 1)) as [_|]; [|lia].
        (* all columns before j have been lifted, j is the smallest *)
        assert (Hsm : smallest (state v) = v).
        { apply smallest_is.
          - unfold state. apply in_map_iff. exists j. split; [|apply in_seq; lia].
            destruct (Z.ltb_spec (l j) v); [lia|exact E].
          - intros x Hx. unfold state in Hx. apply in_map_iff in Hx. destruct Hx as [i [<- Hi]]. apply in_seq in Hi.
            destruct (Z.ltb_spec (l i) v); [|lia]. destruct (swept_above i ltac:(lia)). lia. }
        assert (Hla : largest (state v) = match j with O => l (N - 1)%nat | S i => s i end).
        { apply largest_is.
          - unfold state. apply in_map_iff. destruct j as [|i].
            + exists (N - 1)%nat. split; [|apply in_seq; lia].
              destruct (Z.ltb_spec (l (N - 1)%nat) v) as [Hb|]; [|reflexivity].
              destruct (Nat.eq_dec (N - 1) 0) as [E0|E0]; [rewrite E0 in Hb; lia|].
              pose proof (l_increases 0 (N - 1)%nat ltac:(lia)). lia.
            + exists i. split; [|apply in_seq; lia]. pose proof (l_increases i (S i) ltac:(lia)).
              destruct (Z.ltb_spec (l i) v); [reflexivity|lia].
          - intros x Hx. unfold state in Hx. apply in_map_iff in Hx. destruct Hx as [i [<- Hi]]. apply in_seq in Hi.
            destruct (Z.ltb_spec (l i) v) as [Hb|Hb].
            + assert (i < j)%nat.
              { destruct (Nat.lt_trichotomy i j) as [H|[->|H]]; [exact H|lia|].
                pose proof (l_increases j i ltac:(lia)). lia. }
              destruct j as [|j']; [lia|]. destruct (swept_above j' ltac:(lia)) as [_ Hm].
              assert (i = j' \/ i < j')%nat as [->|Hlt] by lia; [lia|]. specialize (Hm i Hlt). lia.
            + destruct j as [|j'].
              * assert (i = N - 1 \/ i < N - 1)%nat as [->|Hlt] by lia; [lia|].
                pose proof (l_increases i (N - 1)%nat ltac:(lia)). lia.
              * destruct (swept_above j' ltac:(lia)) as [Ha _]. pose proof (l_below i ltac:(lia)). lia. }
        rewrite Hsm, Hla, E. destruct j as [|i]; cbn [swept]; rewrite E; ring.
      + destruct (Z.ltb_spec (l j) (v + 1)); [lia|reflexivity].
  Qed.

  (* No l j lies from t to u: nothing changes. *)
  Lemma state_between t u : t <= u -> (forall j, (j < N)%nat -> ~ (t <= l j < u)) -> state t = state u.
  Proof.
    intros Htu H. unfold state. apply map_ext_in. intros j Hj. apply in_seq in Hj. specialize (H j ltac:(lia)).
    destruct (Z.ltb_spec (l j) t), (Z.ltb_spec (l j) u); try reflexivity; lia.
  Qed.

  Section Layers.
    Variables (d k : nat).
    Hypothesis Hdk : ContextualMapping.c d k = c.

    Lemma sweep_from vs : forall t, StronglySorted Z.lt vs -> (forall v, In v vs -> t <= v <= top) ->
      (forall j, (j < N)%nat -> t <= l j -> In (l j) vs) ->
      fold_left (fun ids v => lift c v ids) vs (state t) = map s (seq 0 N)
      /\ forall j, (j < N)%nat -> firings d k vs (state t) j = if t <=? l j then 1%nat else 0%nat.
    Proof.
      induction vs as [|v vs IH]; intros t Hsort Hin Hall.
      - assert (E : forall j, (j < N)%nat -> l j < t).
        { intros j Hj. destruct (Z.lt_ge_cases (l j) t) as [H|H]; [exact H|]. destruct (Hall j Hj H). }
        split.
        + simpl. unfold state. apply map_ext_in. intros j Hj. apply in_seq in Hj. specialize (E j ltac:(lia)).
          destruct (Z.ltb_spec (l j) t); [reflexivity|lia].
        + intros j Hj. simpl. specialize (E j Hj). destruct (Z.leb_spec t (l j)); [lia|reflexivity].
      - inversion Hsort as [|? ? Hs Hf]; subst. rewrite Forall_forall in Hf.
        pose proof (Hin v (or_introl eq_refl)) as Hv.
        assert (Est : state t = state v).
        { apply state_between; [lia|]. intros j Hj Hb. specialize (Hall j Hj ltac:(lia)).
          destruct Hall as [E|E]; [lia|]. specialize (Hf _ E). lia. }
        destruct (IH (v + 1)) as [IH1 IH2].
        + exact Hs.
        + intros u Hu. specialize (Hf u Hu). specialize (Hin u (or_intror Hu)). lia.
        + intros j Hj Hb. destruct (Hall j Hj ltac:(lia)) as [E|E]; [lia|exact E].
        + split.
          * cbn [fold_left]. rewrite Est, lift_step by lia. exact IH1.
          * intros j Hj. cbn [firings]. rewrite Hdk, Est, lift_step by lia. rewrite (IH2 j Hj).
            unfold state. rewrite nth_map_seq by exact Hj. destruct (swept_above j Hj) as [Ha _].
            assert (Hl : l j < t \/ l j = v \/ v < l j).
            { destruct (Z.lt_ge_cases (l j) t) as [H|H]; [auto|].
              destruct (Hall j Hj H) as [E|E]; [right; left; now symmetry|]. specialize (Hf _ E). auto. }
            destruct (Z.ltb_spec (l j) v), (Z.leb_spec (v + 1) (l j)), (Z.leb_spec t (l j)); try lia;
              match goal with |- context [?x =? v] => destruct (Z.eqb_spec x v) end; lia.
    Qed.
  End Layers.
End Sweep.

Section Closed.
  Variables (c : Z) (N : nat) (l : nat -> Z).

  (* The closed form: s j = c^(j+1) l (N-1) - (c - 1) H j. *)
  Fixpoint horner (f : nat -> Z) (j : nat) : Z :=
    match j with
    | O => f 0%nat
    | S i => c * horner f i + f (S i)
    end.

  Lemma swept_closed j : swept c N l j = c ^ Z.of_nat (S j) * l (N - 1)%nat - (c - 1) * horner l j.
  Proof.
    induction j as [|j IH].
    - cbn [swept horner]. change (Z.of_nat 1) with 1. rewrite Z.pow_1_r. reflexivity.
    - cbn [swept horner]. rewrite IH. replace (Z.of_nat (S (S j))) with (Z.succ (Z.of_nat (S j))) by lia.
      rewrite Z.pow_succ_r by lia. ring.
  Qed.
End Closed.

Lemma horner_plus c f g j : horner c (fun i => f i + g i) j = horner c f j + horner c g j.
Proof. induction j as [|j IH]; cbn [horner]; [reflexivity|]. rewrite IH. ring. Qed.

Lemma horner_bounds c (f : nat -> Z) j : 2 <= c -> (forall i, (i <= j)%nat -> 0 <= f i < c) ->
  0 <= horner c f j < c ^ Z.of_nat (S j).
Proof.
  intros Hc. induction j as [|j IH]; intros H.
  - cbn [horner]. change (Z.of_nat 1) with 1. rewrite Z.pow_1_r. apply H. lia.
  - cbn [horner]. specialize (IH ltac:(intros; apply H; lia)). pose proof (H (S j) ltac:(lia)).
    replace (Z.of_nat (S (S j))) with (Z.succ (Z.of_nat (S j))) by lia. rewrite Z.pow_succ_r by lia. nia.
Qed.

Lemma horner_digits c (f g : nat -> Z) j : 2 <= c ->
  (forall i, (i <= j)%nat -> 0 <= f i < c) -> (forall i, (i <= j)%nat -> 0 <= g i < c) ->
  horner c f j = horner c g j -> forall i, (i <= j)%nat -> f i = g i.
Proof.
  intros Hc. induction j as [|j IH]; intros Hf Hg E i Hi; cbn [horner] in E.
  - now replace i with 0%nat by lia.
  - pose proof (Hf (S j) ltac:(lia)). pose proof (Hg (S j) ltac:(lia)).
    assert (Eh : horner c f j = horner c g j) by nia.
    assert (i = S j \/ i <= j)%nat as [->|Hle] by lia; [nia|].
    apply IH; [intros; apply Hf; lia|intros; apply Hg; lia|exact Eh|exact Hle].
Qed.

(* c^n = 1 + (c - 1) t, so c^n divides (c - 1) x only if it divides x. *)
Lemma power_is_one_more c n : exists t, c ^ Z.of_nat n = 1 + (c - 1) * t.
Proof.
  induction n as [|n [t IH]]; [exists 0; change (c ^ Z.of_nat 0) with 1; ring|].
  exists (c * t + 1). replace (Z.of_nat (S n)) with (Z.succ (Z.of_nat n)) by lia.
  rewrite Z.pow_succ_r by lia. rewrite IH. ring.
Qed.

Lemma small_multiple_is_zero c n x y : 2 <= c -> (c - 1) * x = c ^ Z.of_nat n * y ->
  - c ^ Z.of_nat n < x < c ^ Z.of_nat n -> x = 0.
Proof.
  intros Hc E Hx. destruct (power_is_one_more c n) as [t Ht].
  assert (D : x = c ^ Z.of_nat n * (x - t * y)).
  { transitivity (c ^ Z.of_nat n * x - t * ((c - 1) * x)); [rewrite Ht at 1; ring|rewrite E; ring]. }
  assert (x - t * y = 0) by nia. nia.
Qed.

Section Grid.
  Variables (d m k : nat) (G : Z).
  Hypotheses (Hd : (1 <= d)%nat) (Hm : (1 <= m)%nat) (Hk : (2 <= k)%nat).
  Notation c := (ContextualMapping.c d k).
  Notation n := (ContextualMapping.n d m k).
  Notation Uk := (ContextualMapping.Uk d k).

  Lemma geometric_sum e : Z.of_nat (k ^ e) = 1 + (Z.of_nat k - 1) * geometric (Z.of_nat k) e.
  Proof.
    induction e as [|e IH]; cbn [Nat.pow geometric]; [lia|]. rewrite Nat2Z.inj_mul, IH. ring.
  Qed.

  Lemma geometric_pos e : (1 <= e)%nat -> 1 <= geometric (Z.of_nat k) e.
  Proof.
    induction e as [|[|e] IH]; intros He; [lia|simpl; lia|].
    change (geometric (Z.of_nat k) (S (S e))) with (geometric (Z.of_nat k) (S e) * Z.of_nat k + 1).
    specialize (IH ltac:(lia)). nia.
  Qed.

  Lemma c_and_Uk : 2 <= c <= Uk.
  Proof.
    unfold ContextualMapping.c, codes, ContextualMapping.Uk. rewrite geometric_sum.
    pose proof (geometric_pos d Hd). split; nia.
  Qed.

  Lemma n_at_least_3 : (3 <= n)%nat.
  Proof.
    unfold ContextualMapping.n. assert (2 ^ 1 <= k ^ (d * m))%nat.
    { apply Nat.le_trans with (k ^ 1)%nat; [simpl; lia|]. apply Nat.pow_le_mono_r; nia. }
    simpl in H. nia.
  Qed.

  Definition id_column (a : list Z) (j : nat) : Z := Z.of_nat j * Uk + nth j a 0.

  Lemma code_bounds a j : context d m k a -> (j < n)%nat -> 0 <= nth j a 0 < c.
  Proof. intros [Hl Ha] Hj. apply Ha. apply nth_In. now rewrite Hl. Qed.

  Lemma start_is a : context d m k a -> start d m k a = map (id_column a) (seq 0 n).
  Proof.
    intros [Hl _]. unfold start, numbers. rewrite <- Hl. clear Hl.
    assert (Gen : forall b i, map (fun ja => id_of d k (fst ja) (snd ja)) (combine (map Z.of_nat (seq i (length b))) b)
                         = map (fun j => Z.of_nat j * Uk + nth (j - i) b 0) (seq i (length b))).
    { induction b as [|x b IH]; intros i; simpl; [reflexivity|]. rewrite Nat.sub_diag. f_equal.
      rewrite IH. apply map_ext_in. intros j Hj. apply in_seq in Hj. f_equal.
      replace (j - i)%nat with (S (j - S i)) by lia. reflexivity. }
    rewrite (Gen a 0%nat). apply map_ext. intros j. unfold id_column. now rewrite Nat.sub_0_r.
  Qed.

  Definition top_id : Z := (Z.of_nat n - 1) * Uk + c - 1.

  Lemma in_all_ids v : In v (all_ids d m k) <-> exists j x, (j < n)%nat /\ 0 <= x < c /\ v = Z.of_nat j * Uk + x.
  Proof.
    unfold all_ids. rewrite in_flat_map. split.
    - intros [j [Hj Hv]]. apply in_numbers in Hj. apply in_map_iff in Hv. destruct Hv as [x [<- Hx]].
      apply in_numbers in Hx. exists (Z.to_nat j), x. unfold id_of, ContextualMapping.c. rewrite Z2Nat.id by lia. repeat split; lia.
    - intros [j [x [Hj [Hx ->]]]]. exists (Z.of_nat j). split; [apply in_numbers; lia|].
      apply in_map_iff. exists x. split; [reflexivity|]. apply in_numbers. exact Hx.
  Qed.

  Lemma sorted_numbers N : forall i, StronglySorted Z.lt (map Z.of_nat (seq i N)).
  Proof.
    induction N as [|N IH]; intros i; simpl; constructor; [apply IH|].
    apply Forall_forall. intros x Hx. apply in_map_iff in Hx. destruct Hx as [j [<- Hj]]. apply in_seq in Hj. lia.
  Qed.

  Lemma sorted_app (l1 l2 : list Z) : StronglySorted Z.lt l1 -> StronglySorted Z.lt l2 ->
    (forall x y, In x l1 -> In y l2 -> x < y) -> StronglySorted Z.lt (l1 ++ l2).
  Proof.
    induction l1 as [|x l1 IH]; intros H1 H2 H; simpl; [exact H2|]. inversion H1 as [|? ? Hs Hf]; subst.
    constructor.
    - apply IH; auto. intros; apply H; simpl; auto.
    - apply Forall_app. split; [exact Hf|]. apply Forall_forall. intros y Hy. apply H; simpl; auto.
  Qed.

  Lemma all_ids_sorted : StronglySorted Z.lt (all_ids d m k).
  Proof.
    unfold all_ids, numbers. pose proof c_and_Uk as HU. unfold ContextualMapping.c in HU.
    assert (One : forall j, StronglySorted Z.lt (map (id_of d k j) (map Z.of_nat (seq 0 (codes d k))))).
    { intros j. rewrite map_map. generalize 0%nat as i. generalize (codes d k) as N.
      induction N as [|N IH]; intros i; simpl; constructor; [apply IH|].
      apply Forall_forall. intros x Hx. apply in_map_iff in Hx. destruct Hx as [y [<- Hy]]. apply in_seq in Hy.
      unfold id_of. lia. }
    enough (All : forall N i, StronglySorted Z.lt
              (flat_map (fun j => map (id_of d k j) (map Z.of_nat (seq 0 (codes d k)))) (map Z.of_nat (seq i N))))
      by apply All.
    induction N as [|N IH]; intros i; cbn [seq map flat_map]; [constructor|].
    apply sorted_app; [apply One|apply IH|]. intros x y Hx Hy.
    apply in_map_iff in Hx. destruct Hx as [u [<- Hu]]. apply in_map_iff in Hu. destruct Hu as [u' [<- Hu]]. apply in_seq in Hu.
    apply in_flat_map in Hy. destruct Hy as [j [Hj Hy]]. apply in_map_iff in Hj. destruct Hj as [j' [<- Hj]]. apply in_seq in Hj.
    apply in_map_iff in Hy. destruct Hy as [w [<- Hw]]. apply in_map_iff in Hw. destruct Hw as [w' [<- Hw]]. apply in_seq in Hw.
    unfold id_of. nia.
  Qed.

  Section Context.
    Variable a : list Z.
    Hypothesis Ha : context d m k a.
    Notation l := (id_column a).
    Notation s := (swept c n l).

    Lemma l_increasing i j : (i < j < n)%nat -> l i < l j.
    Proof.
      intros H. unfold id_column. pose proof (code_bounds a i Ha ltac:(lia)). pose proof (code_bounds a j Ha ltac:(lia)).
      pose proof c_and_Uk. nia.
    Qed.

    Lemma l_bounds j : (j < n)%nat -> 0 <= l j <= top_id.
    Proof.
      intros H. unfold id_column, top_id. pose proof (code_bounds a j Ha H). pose proof c_and_Uk. nia.
    Qed.

    Lemma s_0_is_above : top_id < s 0%nat.
    Proof.
      cbn [swept]. unfold id_column, top_id. pose proof n_at_least_3 as H3. pose proof c_and_Uk as HU.
      pose proof (code_bounds a 0 Ha ltac:(lia)) as H0. pose proof (code_bounds a (n - 1) Ha ltac:(lia)) as H1.
      replace (Z.of_nat (n - 1)) with (Z.of_nat n - 1) by lia.
      set (q := Z.of_nat n - 1) in *. assert (2 <= q) by lia.
      assert (c < q * Uk) by nia. simpl (Z.of_nat 0). nia.
    Qed.

    Lemma swept_ids : sweep d m k (start d m k a) = map s (seq 0 n)
      /\ forall j, (j < n)%nat -> firings d k (all_ids d m k) (start d m k a) j = 1%nat.
    Proof.
      pose proof n_at_least_3. pose proof c_and_Uk as HU.
      destruct (sweep_from c n l top_id ltac:(lia) ltac:(lia) l_increasing (fun j Hj => proj2 (l_bounds j Hj)) s_0_is_above
                  d k eq_refl (all_ids d m k) 0 all_ids_sorted) as [H1 H2].
      - intros v Hv. apply in_all_ids in Hv. destruct Hv as [j [x [Hj [Hx ->]]]]. unfold top_id. nia.
      - intros j Hj _. apply in_all_ids. exists j, (nth j a 0). repeat split; try apply code_bounds; auto.
      - assert (E : state c n l 0 = start d m k a).
        { rewrite (start_is a Ha). unfold state. apply map_ext_in. intros j Hj. apply in_seq in Hj.
          pose proof (l_bounds j ltac:(lia)). destruct (Z.ltb_spec (l j) 0); [lia|reflexivity]. }
        rewrite E in H1, H2. split; [exact H1|]. intros j Hj. rewrite (H2 j Hj).
        pose proof (l_bounds j Hj). destruct (Z.leb_spec 0 (l j)); [reflexivity|lia].
    Qed.

    Lemma s_increases j : (j < n)%nat -> top_id < s j /\ forall i, (i < j)%nat -> s i < s j.
    Proof.
      pose proof c_and_Uk. pose proof n_at_least_3.
      apply (swept_above c n l top_id); try lia; [intros i Hi; now apply l_bounds|apply s_0_is_above].
    Qed.

    Lemma final_id j : (j < n)%nat -> nth j (final_ids d m k G a) 0 = s j + G * s (n - 1)%nat.
    Proof.
      intros Hj. unfold final_ids, global_shift. rewrite (proj1 swept_ids).
      assert (E : largest (map s (seq 0 n)) = s (n - 1)%nat).
      { apply largest_is; [apply in_map, in_seq; lia|]. intros x Hx. apply in_map_iff in Hx.
        destruct Hx as [i [<- Hi]]. apply in_seq in Hi.
        assert (i = n - 1 \/ i < n - 1)%nat as [->|Hlt] by lia; [lia|].
        pose proof (proj2 (s_increases (n - 1)%nat ltac:(lia)) i Hlt). lia. }
      rewrite E, map_map. now rewrite (nth_map_seq (fun j => s j + G * s (n - 1)%nat)).
    Qed.

    (* What a context adds to the closed form: its digits. *)
    Lemma s_last : s (n - 1)%nat
      = c ^ Z.of_nat n * (Z.of_nat (n - 1) * Uk + nth (n - 1) a 0)
        - (c - 1) * (horner c (fun j => Z.of_nat j * Uk) (n - 1) + horner c (fun j => nth j a 0) (n - 1)).
    Proof.
      pose proof n_at_least_3. rewrite swept_closed. rewrite <- horner_plus.
      replace (S (n - 1)) with n by lia. reflexivity.
    Qed.

    Lemma s_bounds j : (j < n)%nat -> 0 < s j < c ^ Z.of_nat n * ((Z.of_nat n - 1) * Uk + c).
    Proof.
      intros Hj. pose proof n_at_least_3. pose proof c_and_Uk as HU.
      pose proof (s_increases j Hj) as [Hp _]. pose proof (l_bounds j Hj). split; [lia|].
      assert (Hle : s j <= s (n - 1)%nat).
      { assert (j = n - 1 \/ j < n - 1)%nat as [->|Hlt] by lia; [lia|].
        pose proof (proj2 (s_increases (n - 1)%nat ltac:(lia)) j Hlt). lia. }
      assert (Hh : forall i, (i < n)%nat -> 0 <= horner c l i).
      { induction i as [|i IH]; intros Hi; cbn [horner]; [apply l_bounds; lia|].
        pose proof (l_bounds (S i) Hi). specialize (IH ltac:(lia)). nia. }
      rewrite (swept_closed c n l (n - 1)) in Hle. replace (S (n - 1)) with n in Hle by lia.
      specialize (Hh (n - 1)%nat ltac:(lia)). pose proof (l_bounds (n - 1)%nat ltac:(lia)) as Hl. unfold top_id in Hl.
      assert (Hp0 : 0 < c ^ Z.of_nat n) by (apply Z.pow_pos_nonneg; lia).
      set (p := c ^ Z.of_nat n) in *. set (h := horner c l (n - 1)) in *. set (last := l (n - 1)%nat) in *.
      assert (0 <= (c - 1) * h) by (apply Z.mul_nonneg_nonneg; lia).
      assert (p * last <= p * ((Z.of_nat n - 1) * Uk + c - 1)) by (apply Z.mul_le_mono_nonneg_l; lia).
      replace (p * ((Z.of_nat n - 1) * Uk + c)) with (p * ((Z.of_nat n - 1) * Uk + c - 1) + p) by ring. lia.
    Qed.
  End Context.

  Lemma same_last_same_context a b : context d m k a -> context d m k b ->
    swept c n (id_column a) (n - 1) = swept c n (id_column b) (n - 1) -> a = b.
  Proof.
    intros Ha Hb E. pose proof n_at_least_3. pose proof c_and_Uk as HU.
    rewrite (s_last a), (s_last b) in E.
    set (A := horner c (fun j => nth j a 0) (n - 1)) in *. set (B := horner c (fun j => nth j b 0) (n - 1)) in *.
    assert (BA : 0 <= A < c ^ Z.of_nat n).
    { replace (Z.of_nat n) with (Z.of_nat (S (n - 1))) by lia. apply horner_bounds; [lia|].
      intros i Hi. apply code_bounds; [exact Ha|lia]. }
    assert (BB : 0 <= B < c ^ Z.of_nat n).
    { replace (Z.of_nat n) with (Z.of_nat (S (n - 1))) by lia. apply horner_bounds; [lia|].
      intros i Hi. apply code_bounds; [exact Hb|lia]. }
    assert (D : A - B = 0).
    { apply (small_multiple_is_zero c n (A - B) (nth (n - 1) a 0 - nth (n - 1) b 0)); [lia| |lia]. lia. }
    assert (Digits : forall i, (i <= n - 1)%nat -> nth i a 0 = nth i b 0).
    { apply (horner_digits c (fun j => nth j a 0) (fun j => nth j b 0) (n - 1)); [lia| | |unfold A, B in D; lia];
        intros i Hi; apply code_bounds; auto; lia. }
    destruct Ha as [La _], Hb as [Lb _]. apply (nth_ext a b 0 0); [lia|]. intros i Hi. apply Digits. lia.
  Qed.

  Definition sufficient_shift : Z := c ^ Z.of_nat n * ((Z.of_nat n - 1) * Uk + c).

  Theorem contextual_mapping : 0 <= G -> (m = 1%nat \/ sufficient_shift <= G) -> distinct_ids d m k G.
  Proof.
    intros HG HS. split.
    - intros a Ha j Hj. now apply (proj2 (swept_ids a Ha)).
    - intros a b i j Ha Hb [Hi1 Hi2] [Hj1 Hj2] E. rewrite (final_id a Ha i Hi2), (final_id b Hb j Hj2) in E.
      set (x := swept c n (id_column a) (n - 1)) in *. set (y := swept c n (id_column b) (n - 1)) in *.
      assert (Exy : x = y).
      { destruct HS as [Hm1|HS].
        - replace i with (n - 1)%nat in E by lia. replace j with (n - 1)%nat in E by lia. fold x y in E. nia.
        - pose proof (s_bounds a Ha i Hi2) as Bi. pose proof (s_bounds b Hb j Hj2) as Bj.
          unfold sufficient_shift in HS.
          destruct (Z.lt_trichotomy x y) as [H|[H|H]]; [exfalso; nia|exact H|exfalso; nia]. }
      assert (Eab : a = b) by (now apply same_last_same_context).
      split; [exact Eab|]. subst b.
      assert (Es : swept c n (id_column a) i = swept c n (id_column a) j) by (unfold x, y in E; lia).
      destruct (Nat.lt_trichotomy i j) as [H|[H|H]]; [exfalso|exact H|exfalso].
      + pose proof (proj2 (s_increases a Ha j Hj2) i H). lia.
      + pose proof (proj2 (s_increases a Ha i Hi2) j H). lia.
  Qed.
End Grid.

(* Replaying a certificate: the conditions, by computation. *)
Definition check_bound (d m k : nat) (G : Z) : bool :=
  Nat.leb 1 d && Nat.leb 1 m && Nat.leb 2 k && (0 <=? G) && (Nat.eqb m 1 || (sufficient_shift d m k <=? G)).

Theorem check_bound_sound d m k G : check_bound d m k G = true -> distinct_ids d m k G.
Proof.
  unfold check_bound. rewrite !andb_true_iff, orb_true_iff. intros [[[[Hd Hm] Hk] HG] HS].
  apply Nat.leb_le in Hd, Hm, Hk. apply Z.leb_le in HG.
  apply contextual_mapping; try assumption.
  destruct HS as [H|H]; [left; now apply Nat.eqb_eq|right; now apply Z.leb_le].
Qed.
