(* Replaying certificates of the claim unmemorizable-pair: a check that computes with rationals, and the theorem that
   what it accepts is true of the real layer. The conditions are those of docs/certificate-format.md. *)

From Coq Require Import Reals List Lra Lia Psatz QArith Qreals Qabs Bool.
From PromptCert Require Import Sums Attention Pair Vectors Rational Layer Data Preimage ExpEnclosure Exponential.
Import ListNotations.
Open Scope R_scope.

(* Preimage proofs. *)
Inductive tree := Piece | Empty (multipliers : vector Q) | Branch (unit : nat) (active inactive : tree).
Inductive preimage_proof := Point (z : vector Q) (factor : matrix Q) | Tree (t : tree).

(* What a preimage proof leaves: a point, or the signs of some units. *)
Inductive piece := At (z : vector Q) | Leaf (signs : list (nat * bool)).

Inductive argument := Cone | Closeness.
Record separation := Separation
  { kind : argument; head_number : nat; w : vector Q; multipliers_1 : vector Q; multipliers_2 : vector Q }.

Inductive witness :=
  | ContradictoryData
  | OutOfRange (t : tree)
  | Separated (first second : preimage_proof) (pairs : list (list separation)).

Definition has (signs : list (nat * bool)) (i : nat) (s : bool) : bool :=
  existsb (fun p => Nat.eqb (fst p) i && Bool.eqb (snd p) s) signs.

Lemma has_in signs i s : has signs i s = true -> In (i, s) signs.
Proof.
  unfold has. intros H. apply existsb_exists in H. destruct H as [[j t] [Hin H]].
  apply andb_prop in H. destruct H as [H1 H2]. apply Nat.eqb_eq in H1. apply eqb_prop in H2.
  simpl in *. now subst.
Qed.

Section Preimages.
  Variables (d : nat) (m : mlp Q) (y : vector Q).
  Notation r := (units m).

  Definition qshifted : vector Q := fun c => qminus (y c) (b_2 m c).
  Definition qconstant : vector Q := stored r (qpre_activation d m (stored d qshifted)).
  Definition qtransposed_M (l : vector Q) : vector Q :=
    let a := stored d (qapply r (transposed (W_1 m)) l) in fun k => qplus (l k) (qapply d (transposed (W_2 m)) a k).

  Definition leaf_ok (signs : list (nat * bool)) (f l : vector Q) : bool :=
    all_below r (fun i => (has signs i true || qle (l i) 0) && (has signs i false || qle (f i) (qtransposed_M l i))).

  Fixpoint pieces (signs : list (nat * bool)) (t : tree) : list piece :=
    match t with
    | Piece => [Leaf signs]
    | Empty _ => []
    | Branch i a b => pieces ((i, true) :: signs) a ++ pieces ((i, false) :: signs) b
    end.

  Fixpoint empties_ok (signs : list (nat * bool)) (t : tree) : bool :=
    match t with
    | Piece => true
    | Empty l => leaf_ok signs (fun _ => 0%Q) l && qlt (qdot r l qconstant) 0
    | Branch i a b => empties_ok ((i, true) :: signs) a && empties_ok ((i, false) :: signs) b
    end.

  Definition pieces_of (p : preimage_proof) : list piece :=
    match p with Point z _ => [At z] | Tree t => pieces [] t end.

  (* M + M^T *)
  Definition symmetric_M (i j : nat) : Q :=
    let entry i j := qplus (if Nat.eqb i j then 1%Q else 0%Q) (qdot d (W_1 m i) (fun c => W_2 m c j)) in
    qplus (entry i j) (entry j i).

  Definition qremainder (N F : matrix Q) (i j : nat) : Q := qminus (N i j) (qdot r (F i) (F j)).
  Definition qexcess (N F : matrix Q) (i : nat) : Q :=
    qminus (qmult 4 (qremainder N F i i))
      (qsum (fun j => qplus (Qabs (qremainder N F i j)) (Qabs (qremainder N F j i))) (below r)).

  Definition covered (p : preimage_proof) : bool :=
    match p with
    | Point z F => equal_vectors d (qmlp_output d m z) y && all_below r (fun i => qlt 0 (qexcess symmetric_M F i))
    | Tree t => empties_ok [] t
    end.

  (* A number that w . z does not exceed on a piece. *)
  Definition upper_bound (p : piece) (w l : vector Q) : option Q :=
    match p with
    | At z => Some (qdot d w z)
    | Leaf signs =>
        if leaf_ok signs (fun i => Qopp (qapply d (transposed (W_2 m)) w i)) l
        then Some (qplus (qdot d w qshifted) (qdot r l qconstant)) else None
    end.

  (* What these say about reals. *)
  Notation M := (real_mlp m).
  Notation Y := (real_vector y).

  Definition inside (p : piece) (z : vector R) : Prop :=
    match p with
    | At z_0 => forall c, (c < d)%nat -> z c = real (z_0 c)
    | Leaf signs => has_signs d M signs z
    end.

  Lemma qshifted_real : real_vector qshifted = shifted M Y.
  Proof. apply FunctionalExtensionality.functional_extensionality. intros c. apply real_minus. Qed.

  Lemma qconstant_real i : (i < r)%nat -> real (qconstant i) = constant_term d M Y i.
  Proof.
    intros Hi. unfold qconstant. rewrite stored_entry by exact Hi. rewrite qpre_activation_real.
    unfold constant_term, pre_activation. f_equal. apply dot_ext; [reflexivity|]. intros c Hc.
    rewrite <- qshifted_real. unfold real_vector. now rewrite stored_entry.
  Qed.

  Lemma qdot_constant l : real (qdot r l qconstant) = dot r (real_vector l) (constant_term d M Y).
  Proof. rewrite real_dot. apply dot_ext; [reflexivity|]. intros. now apply qconstant_real. Qed.

  Lemma qtransposed_M_real l k : real (qtransposed_M l k) = transposed_M d M (real_vector l) k.
  Proof.
    unfold qtransposed_M, transposed_M. rewrite real_plus. f_equal. unfold qapply. rewrite qdot_stored.
    apply dot_ext; [reflexivity|]. intros c _. apply real_dot.
  Qed.

  Lemma leaf_ok_spec signs f l : leaf_ok signs f l = true -> forall i, (i < r)%nat ->
    (In (i, true) signs \/ real_vector l i <= 0)
    /\ (In (i, false) signs \/ real (f i) <= transposed_M d M (real_vector l) i).
  Proof.
    intros H i Hi. pose proof (all_below_spec r _ H i Hi) as E. apply andb_prop in E. destruct E as [E1 E2].
    apply orb_prop in E1. apply orb_prop in E2. split.
    - destruct E1 as [E|E]; [left; now apply has_in|right]. apply qle_real in E. now rewrite real_0 in E.
    - destruct E2 as [E|E]; [left; now apply has_in|right]. apply qle_real in E. now rewrite qtransposed_M_real in E.
  Qed.

  Lemma empties_ok_sound t : forall signs z, empties_ok signs t = true -> maps_to d M Y z -> has_signs d M signs z ->
    exists p, In p (pieces signs t) /\ inside p z.
  Proof.
    induction t as [|l|i a IHa b IHb]; intros signs z H Hz Hs; simpl in *.
    - exists (Leaf signs). auto.
    - exfalso. apply andb_prop in H. destruct H as [H1 H2].
      pose proof (leaf_ok_spec _ _ _ H1) as L. apply qlt_real in H2. rewrite qdot_constant, real_0 in H2.
      apply (empty_leaf d M Y signs (real_vector l) z Hz Hs); [| |exact H2]; intros i Hi; destruct (L i Hi) as [L1 L2].
      + exact L1.
      + rewrite real_0 in L2. exact L2.
    - apply andb_prop in H. destruct H as [Ha Hb].
      destruct (Rle_dec 0 (pre_activation d M z i)) as [Hi|Hi].
      + destruct (IHa ((i, true) :: signs) z Ha Hz) as [p [Hp Hin]].
        * intros j s [E|E]; [injection E; intros; subst; exact Hi|now apply Hs].
        * exists p. split; [apply in_or_app; auto|exact Hin].
      + destruct (IHb ((i, false) :: signs) z Hb Hz) as [p [Hp Hin]].
        * intros j s [E|E]; [injection E; intros; subst; lra|now apply Hs].
        * exists p. split; [apply in_or_app; auto|exact Hin].
  Qed.

  Lemma qexcess_real N F i : real (qexcess N F i) = excess r r (real_matrix N) (real_matrix F) i.
  Proof.
    assert (E : forall j k, real (qremainder N F j k) = remainder r (real_matrix N) (real_matrix F) j k)
      by (intros; unfold qremainder; now rewrite real_minus, real_dot).
    unfold qexcess, excess. rewrite real_minus, real_mult, real_sum, E. f_equal.
    - f_equal. unfold Q2R. simpl. field.
    - apply sum_ext. intros j _. now rewrite real_plus, !real_abs, !E.
  Qed.

  (* e . (M + M^T) e = 2 e . M e *)
  Lemma symmetric_M_real e :
    dot r e (apply r (real_matrix symmetric_M) e)
    = 2 * dot r e (fun i => e i + apply d (W_1 M) (apply r (W_2 M) e) i).
  Proof.
    set (W := fun i j => (if Nat.eqb i j then 1 else 0) + dot d (W_1 M i) (fun c => W_2 M c j)).
    assert (EW : forall i, (i < r)%nat -> apply r W e i = e i + apply d (W_1 M) (apply r (W_2 M) e) i).
    { intros i Hi. unfold apply at 1, W. rewrite dot_comm.
      rewrite dot_plus_r. f_equal.
      - unfold dot. rewrite (sum_ext _ (fun j => if Nat.eqb i j then e j else 0)).
        + now apply sum_unit.
        + intros j _. destruct (Nat.eqb i j); ring.
      - change (apply d (W_1 M) (apply r (W_2 M) e) i) with (dot d (W_1 M i) (apply r (W_2 M) e)).
        rewrite dot_apply. rewrite dot_comm. apply dot_ext; [|reflexivity]. intros j _.
        unfold apply, transposed. apply dot_comm. }
    assert (ES : forall i j, real_matrix symmetric_M i j = W i j + W j i).
    { intros i j. unfold real_matrix, symmetric_M, W. rewrite !real_plus, !real_dot.
      destruct (Nat.eqb i j), (Nat.eqb j i); rewrite ?real_1, ?real_0; reflexivity. }
    transitivity (dot r e (fun i => apply r W e i + apply r (transposed W) e i)).
    - apply dot_ext; [reflexivity|]. intros i _. unfold apply. rewrite !(dot_comm r _ e), <- dot_plus_r.
      apply dot_ext; [reflexivity|]. intros j _. apply ES.
    - rewrite dot_plus_r. rewrite (dot_apply r r (transposed W) e e).
      rewrite (dot_comm r _ e). change (transposed (transposed W)) with W.
      rewrite (dot_ext r e (apply r W e) e (fun i => e i + apply d (W_1 M) (apply r (W_2 M) e) i)); [ring|reflexivity|exact EW].
  Qed.

  Theorem covered_sound p z : covered p = true -> maps_to d M Y z -> exists q, In q (pieces_of p) /\ inside q z.
  Proof.
    destruct p as [z_0 F|t]; intros H Hz; simpl in *.
    - exists (At z_0). split; [auto|]. apply andb_prop in H. destruct H as [H1 H2].
      intros c Hc. apply (one_preimage d M Y) with (z' := real_vector z_0); [| exact Hz | | exact Hc].
      + intros e He. apply (definite r r (real_matrix symmetric_M) (real_matrix F)).
        * intros i Hi. rewrite <- qexcess_real. apply qlt_0. apply (all_below_spec r _ H2 i Hi).
        * rewrite symmetric_M_real. change (units M) with r in He. lra.
      + intros k Hk. rewrite <- qmlp_output_real. apply (equal_vectors_real d _ _ H1 k Hk).
    - apply empties_ok_sound; [exact H|exact Hz|]. intros i s [].
  Qed.

  Theorem upper_bound_sound p w l b z : upper_bound p w l = Some b -> maps_to d M Y z -> inside p z ->
    dot d (real_vector w) z <= real b.
  Proof.
    destruct p as [z_0|signs]; simpl; intros H Hz Hin.
    - injection H as <-. rewrite real_dot. right. apply dot_ext; [reflexivity|exact Hin].
    - destruct (leaf_ok _ _ _) eqn:L; [|discriminate]. injection H as <-.
      rewrite real_plus, real_dot, qdot_constant, qshifted_real.
      pose proof (leaf_ok_spec _ _ _ L) as S.
      apply (leaf_bound_along d M Y signs); auto; intros i Hi; destruct (S i Hi) as [S1 S2]; [exact S1|].
      destruct S2 as [S2|S2]; [left; exact S2|right]. rewrite real_opp in S2.
      replace (apply d (transposed (W_2 M)) (real_vector w) i) with (real (qapply d (transposed (W_2 m)) w i));
        [exact S2|apply real_dot].
  Qed.
End Preimages.

Section Check.
  Variables (p : list precision) (L : layer Q).
  Notation d := (d L).
  Notation m := (feed_forward L).

  Definition weighted_terms (q g : vector Q) (Z : list (vector Q)) : expsum := map (fun z => (qdot d g z, qdot d q z)) Z.
  Definition mass_terms (q : vector Q) (Z : list (vector Q)) : expsum := map (fun z => (1%Q, qdot d q z)) Z.

  Definition others_vanish (i : nat) (w : vector Q) : bool :=
    forallb (fun h => let g := qvalue_row d h w in all_below d (fun c => Qeq_bool (g c) 0))
      (firstn i (heads L) ++ skipn (S i) (heads L)).

  Definition separates (q_1 q_2 : query Q) (p_1 p_2 : piece) (s : separation) : bool :=
    let x_1 := qtoken_of q_1 in
    let x_2 := qtoken_of q_2 in
    match nth_error (heads L) (head_number s),
          upper_bound d m (target q_1) p_1 (w s) (multipliers_1 s),
          upper_bound d m (target q_2) p_2 (fun c => Qopp (w s c)) (multipliers_2 s) with
    | Some h, Some bound_1, Some bound_2 =>
        let q := qlogit_vector d h x_1 in
        let g := qvalue_row d h (w s) in
        let M_1 := qminus bound_1 (qdot d (w s) x_1) in
        let m_2 := qminus (Qopp bound_2) (qdot d (w s) x_2) in
        let B_1 := weighted_terms q g (qcontext_of L q_1) in
        let B_2 := weighted_terms q g (qcontext_of L q_2) in
        let minus_B_2 := scaled (-(1)) B_2 in
        let total := B_1 ++ minus_B_2 ++ scaled (Qopp M_1) (mass_terms q (qcontext_of L q_1))
                         ++ scaled m_2 (mass_terms q (qcontext_of L q_2)) in
        equal_vectors d q (qlogit_vector d h x_2)
        && others_vanish (head_number s) (w s)
        && match kind s with
           | Cone =>
               nonneg_sum p B_1 && qle M_1 0 && nonneg_sum p minus_B_2 && qle 0 m_2
               && (if qlt M_1 0 then true else if qlt 0 m_2 then true
                   else if positive_sum p B_1 then true else positive_sum p minus_B_2)
           | Closeness => qle M_1 m_2 && nonneg_sum p total && (if qlt M_1 m_2 then true else positive_sum p total)
           end
    | _, _, _ => false
    end.

  (* The same vectors, tokens and contexts, coordinate by coordinate. *)
  Definition same_tokens (Z Z' : list (vector Q)) : bool :=
    Nat.eqb (length Z) (length Z') && forallb (fun zz => equal_vectors d (fst zz) (snd zz)) (combine Z Z').

  Definition check_pair (queries : list (query Q)) (proof : witness) : bool :=
    match proof, queries with
    | ContradictoryData, [q_1; q_2] =>
        same_tokens (qcontext_of L q_1) (qcontext_of L q_2) && equal_vectors d (qtoken_of q_1) (qtoken_of q_2)
        && negb (equal_vectors d (target q_1) (target q_2))
    | OutOfRange t, [q] =>
        match pieces [] t with [] => empties_ok d m (target q) [] t | _ => false end
    | Separated first second pairs, [q_1; q_2] =>
        covered d m (target q_1) first && covered d m (target q_2) second
        && Nat.eqb (length pairs) (length (pieces_of first))
        && forallb (fun row => Nat.eqb (length (snd row)) (length (pieces_of second))
                               && forallb (fun entry => separates q_1 q_2 (fst row) (fst entry) (snd entry))
                                    (combine (pieces_of second) (snd row)))
             (combine (pieces_of first) pairs)
    | _, _ => false
    end.

  (* Soundness. *)
  Notation RL := (real_layer L).

  Lemma weighted_terms_value q g h w Z :
    (forall z, dot d w (value d h z) = dot d (real_vector g) z) ->
    value_of (weighted_terms q g Z)
    = weighted (dot d (real_vector q)) (fun z => dot d w (value d h z)) (map real_vector Z).
  Proof.
    intros H. unfold value_of, weighted_terms, weighted. rewrite !sum_map. apply sum_ext. intros z _. cbn [fst snd].
    rewrite H, !real_dot. ring.
  Qed.

  Lemma mass_terms_value q Z : value_of (mass_terms q Z) = mass (dot d (real_vector q)) (map real_vector Z).
  Proof.
    unfold value_of, mass_terms, mass. rewrite !sum_map. apply sum_ext. intros z _. cbn [fst snd].
    rewrite real_dot, real_1. ring.
  Qed.

  (* w . (what enters the MLP) is the output of one head along w, and w . x. *)
  Lemma along_w w i h x Z :
    nth_error (heads L) i = Some h -> others_vanish i w = true ->
    dot d (real_vector w) (mlp_input RL x Z)
    = attention (dot d (logit_vector d (real_head h) x)) (fun z => dot d (real_vector w) (value d (real_head h) z)) Z
      + dot d (real_vector w) x.
  Proof.
    intros Hh Ho. unfold mlp_input. change (Layer.d RL) with d. rewrite dot_plus_r. f_equal.
    rewrite dot_sum_r.
    set (score := fun h => dot d (logit_vector d h x)).
    set (along := fun h z => dot d (real_vector w) (value d h z)).
    transitivity (heads_output score along (heads RL) Z).
    - unfold heads_output. apply sum_ext. intros k _. unfold along, head_output, dot at 1. unfold dot at 2.
      rewrite (attention_sum (score k) (fun c z => real_vector w c * value d k z c) (below d) Z).
      apply sum_ext. intros c _. symmetry. apply attention_scale.
    - apply (one_head_counts score along (heads RL) (map real_head (firstn i (heads L))) (real_head h)
               (map real_head (skipn (S i) (heads L)))).
      + change (heads RL) with (map real_head (heads L)).
        change (real_head h :: map real_head (skipn (S i) (heads L))) with (map real_head (h :: skipn (S i) (heads L))).
        rewrite <- map_app. f_equal. apply nth_error_split in Hh. destruct Hh as [front [back [E Hlen]]].
        rewrite E. rewrite <- Hlen. rewrite firstn_app, Nat.sub_diag, firstn_all. simpl firstn. rewrite app_nil_r.
        f_equal. f_equal. rewrite skipn_app. rewrite (skipn_all2 front) by lia. 
        replace (S (length front) - length front)%nat with 1%nat by lia. reflexivity.
      + intros k Hk z. unfold along.
        assert (exists k_0, In k_0 (firstn i (heads L) ++ skipn (S i) (heads L)) /\ k = real_head k_0) as [k_0 [Hin ->]].
        { destruct Hk as [Hk|Hk]; apply in_map_iff in Hk; destruct Hk as [k_0 [E Hin]]; exists k_0; split;
            auto using in_or_app. }
        rewrite qvalue_row_real. apply dot_zero_l. intros c Hc.
        unfold others_vanish in Ho. rewrite forallb_forall in Ho. specialize (Ho k_0 Hin).
        pose proof (all_below_spec d _ Ho c Hc) as E. apply Qeq_bool_real in E. rewrite real_0 in E. exact E.
  Qed.

  Lemma separates_sound q_1 q_2 p_1 p_2 s P :
    separates q_1 q_2 p_1 p_2 s = true -> P <> [] ->
    let z_1 := mlp_input RL (token_of (real_query q_1)) (P ++ context_of RL (real_query q_1)) in
    let z_2 := mlp_input RL (token_of (real_query q_2)) (P ++ context_of RL (real_query q_2)) in
    maps_to d (real_mlp m) (real_vector (target q_1)) z_1 -> maps_to d (real_mlp m) (real_vector (target q_2)) z_2 ->
    inside d m p_1 z_1 -> inside d m p_2 z_2 -> False.
  Proof.
    intros H HP z_1 z_2 Hz1 Hz2 Hin1 Hin2. unfold separates in H.
    destruct (nth_error (heads L) (head_number s)) as [h|] eqn:Eh; [|discriminate].
    destruct (upper_bound d m (target q_1) p_1 _ _) as [bound_1|] eqn:E1; [|discriminate].
    destruct (upper_bound d m (target q_2) p_2 _ _) as [bound_2|] eqn:E2; [|discriminate].
    apply (upper_bound_sound _ _ _ _ _ _ _ z_1) in E1; [|assumption|assumption].
    apply (upper_bound_sound _ _ _ _ _ _ _ z_2) in E2; [|assumption|assumption].
    cbv zeta in H.
    set (q := qlogit_vector d h (qtoken_of q_1)) in *. set (g := qvalue_row d h (w s)) in *.
    set (M_1 := qminus bound_1 _) in *. set (m_2 := qminus (Qopp bound_2) _) in *.
    apply andb_prop in H. destruct H as [H H'']. apply andb_prop in H. destruct H as [Hq Ho].
    unfold z_1 in E1. unfold z_2 in E2.
    assert (E2' : - real bound_2 <= dot d (real_vector (w s)) (mlp_input RL (token_of (real_query q_2)) (P ++ context_of RL (real_query q_2)))).
    { rewrite (dot_ext d (real_vector (fun c => - w s c)%Q) _ (fun c => (-1) * real_vector (w s) c) 
                 (mlp_input RL (token_of (real_query q_2)) (P ++ context_of RL (real_query q_2)))) in E2.
      - rewrite dot_comm, dot_scale_r, dot_comm in E2. lra.
      - intros c _. unfold real_vector. rewrite real_opp. ring.
      - reflexivity. }
    rewrite (along_w (w s) (head_number s) h) in E1, E2' by assumption.
    rewrite qtoken_of_real, qcontext_of_real in E1, E2'.
    set (score := dot d (real_vector q)). set (along := fun z => dot d (real_vector (w s)) (value d (real_head h) z)).
    assert (S1 : forall z, dot d (logit_vector d (real_head h) (real_vector (qtoken_of q_1))) z = score z).
    { intros z. apply dot_ext; [|reflexivity]. intros c Hc. symmetry. now apply qlogit_vector_real. }
    assert (S2 : forall z, dot d (logit_vector d (real_head h) (real_vector (qtoken_of q_2))) z = score z).
    { intros z. apply dot_ext; [|reflexivity]. intros c Hc. rewrite <- qlogit_vector_real by exact Hc.
      symmetry. apply (equal_vectors_real d _ _ Hq c Hc). }
    rewrite (attention_ext _ score along along) in E1 by auto.
    rewrite (attention_ext _ score along along) in E2' by auto.
    assert (F1 : real M_1 = real bound_1 - dot d (real_vector (w s)) (real_vector (qtoken_of q_1)))
      by (unfold M_1; now rewrite real_minus, real_dot).
    assert (F2 : real m_2 = - real bound_2 - dot d (real_vector (w s)) (real_vector (qtoken_of q_2)))
      by (unfold m_2; now rewrite real_minus, real_dot, real_opp).
    assert (W : forall Z, value_of (weighted_terms q g Z) = weighted score along (map real_vector Z)).
    { intros Z. apply (weighted_terms_value q g (real_head h) (real_vector (w s))). apply qvalue_row_real. }
    set (X_1 := qcontext_of L q_1) in *. set (X_2 := qcontext_of L q_2) in *.
    assert (W' : value_of (scaled (-(1)) (weighted_terms q g X_2)) = - weighted score along (map real_vector X_2)).
    { rewrite value_of_scaled, W, real_opp, real_1. ring. }
    destruct (kind s).
    - repeat (apply andb_prop in H''; destruct H'' as [H'' ?]).
      apply nonneg_sum_sound in H''. rewrite W in H''.
      match goal with H : nonneg_sum _ _ = true |- _ => apply nonneg_sum_sound in H; rewrite W' in H end.
      match goal with H : qle M_1 0 = true |- _ => apply qle_real in H; rewrite real_0 in H end.
      match goal with H : qle 0 m_2 = true |- _ => apply qle_0 in H end.
      match goal with H : (if _ then _ else _) = true |- _ => rename H into D end.
      apply (cone score along (map real_vector X_1) (map real_vector X_2) P HP); try lra.
      destruct (qlt M_1 0) eqn:D1.
      { apply qlt_real in D1. rewrite real_0 in D1. right; left. lra. }
      destruct (qlt 0 m_2) eqn:D2.
      { apply qlt_0 in D2. right; right; right. lra. }
      destruct (positive_sum p (weighted_terms q g X_1)) eqn:D3.
      { apply positive_sum_sound in D3. rewrite W in D3. lra. }
      apply positive_sum_sound in D. rewrite W' in D. right; right; left. lra.
    - repeat (apply andb_prop in H''; destruct H'' as [H'' ?]).
      apply qle_real in H''.
      match goal with H : nonneg_sum _ ?t = true |- _ =>
        assert (T : value_of t = weighted score along (map real_vector X_1) - weighted score along (map real_vector X_2)
                                 - mass score (map real_vector X_1) * real M_1 + mass score (map real_vector X_2) * real m_2)
      end.
      { rewrite !value_of_app, W, W', !value_of_scaled, !mass_terms_value, real_opp. fold score. ring. }
      match goal with H : nonneg_sum _ _ = true |- _ => apply nonneg_sum_sound in H; rewrite T in H end.
      match goal with H : (if _ then _ else _) = true |- _ => rename H into D end.
      apply (closeness score along (map real_vector X_1) (map real_vector X_2) P (real M_1) (real m_2) HP); try lra.
      destruct (qlt M_1 m_2) eqn:D1; [left; now apply qlt_real|].
      right. apply positive_sum_sound in D. now rewrite T in D.
  Qed.

  (* Only the first d coordinates of tokens are looked at. *)
  Lemma mlp_input_same x x' Z Z' c :
    (c < d)%nat -> (forall k, (k < d)%nat -> x k = x' k) ->
    Forall2 (fun z z' : vector R => forall k, (k < d)%nat -> z k = z' k) Z Z' ->
    mlp_input RL x Z c = mlp_input RL x' Z' c.
  Proof.
    intros Hc Hx HZ. unfold mlp_input. change (Layer.d RL) with d. rewrite (Hx c Hc). f_equal.
    apply sum_ext. intros h _. unfold head_output.
    assert (Hq : forall k, logit_vector d h x k = logit_vector d h x' k).
    { intros k. unfold logit_vector. apply dot_ext; [reflexivity|]. intros i _. f_equal.
      apply dot_ext; [reflexivity|exact Hx]. }
    assert (Hz : forall z z' : vector R, (forall k, (k < d)%nat -> z k = z' k) ->
                 exp (dot d (logit_vector d h x) z) = exp (dot d (logit_vector d h x') z') /\ value d h z c = value d h z' c).
    { intros z z' E. split.
      - f_equal. apply dot_ext; [intros; apply Hq|exact E].
      - apply dot_ext; [reflexivity|]. intros i _. apply dot_ext; [reflexivity|exact E]. }
    unfold attention. f_equal.
    - unfold weighted. induction HZ as [|z z' Z Z' E _ IH]; simpl; [reflexivity|].
      destruct (Hz z z' E) as [-> ->]. now rewrite IH.
    - unfold mass. induction HZ as [|z z' Z Z' E _ IH]; simpl; [reflexivity|].
      destruct (Hz z z' E) as [-> _]. now rewrite IH.
  Qed.

  Lemma same_tokens_sound Z Z' : same_tokens Z Z' = true ->
    Forall2 (fun z z' : vector R => forall k, (k < d)%nat -> z k = z' k) (map real_vector Z) (map real_vector Z').
  Proof.
    unfold same_tokens. intros H. apply andb_prop in H. destruct H as [Hl H]. apply Nat.eqb_eq in Hl.
    revert Z' Hl H. induction Z as [|z Z IH]; intros [|z' Z'] Hl H; try discriminate; constructor.
    - simpl in H. apply andb_prop in H. destruct H as [H _]. intros k Hk. apply (equal_vectors_real d _ _ H k Hk).
    - apply IH; [now injection Hl|]. simpl in H. apply andb_prop in H. tauto.
  Qed.

  Lemma equal_vectors_complete u v :
    (forall c, (c < d)%nat -> real (u c) = real (v c)) -> equal_vectors d u v = true.
  Proof.
    intros H. unfold equal_vectors, all_below. apply forallb_forall. intros c Hc. apply in_below in Hc.
    apply Qeq_bool_iff, eqR_Qeq, H, Hc.
  Qed.

  Lemma in_combine_first {A B} (x : A) (l : list A) (k : list B) :
    length k = length l -> In x l -> exists y, In (x, y) (combine l k).
  Proof.
    revert k. induction l as [|a l IH]; intros [|b k] Hl Hx; try discriminate; [destruct Hx|].
    destruct Hx as [->|Hx]; [exists b; simpl; auto|].
    injection Hl as Hl. destruct (IH k Hl Hx) as [y Hy]. exists y. simpl. auto.
  Qed.

  Theorem check_pair_sound queries proof :
    check_pair queries proof = true -> no_prompt_meets RL (map real_query queries).
  Proof.
    intros H P HP Hmeets.
    assert (Hm : forall q, In q queries -> maps_to d (real_mlp m) (real_vector (target q))
                   (mlp_input RL (token_of (real_query q)) (P ++ context_of RL (real_query q)))).
    { intros q Hq. apply (Hmeets (real_query q)). now apply in_map. }
    destruct proof as [|t|first second pairs].
    - destruct queries as [|q_1 [|q_2 [|]]]; try discriminate. simpl in H.
      apply andb_prop in H. destruct H as [H Ht]. apply andb_prop in H. destruct H as [Hc Hx].
      apply same_tokens_sound in Hc. pose proof (equal_vectors_real d _ _ Hx) as Hx'.
      assert (E : equal_vectors d (target q_1) (target q_2) = true); [|rewrite E in Ht; discriminate].
      apply equal_vectors_complete. intros c Hcd.
      assert (Z : forall k, (k < d)%nat -> mlp_input RL (token_of (real_query q_1)) (P ++ context_of RL (real_query q_1)) k
                  = mlp_input RL (token_of (real_query q_2)) (P ++ context_of RL (real_query q_2)) k).
      { intros k Hk. rewrite !qtoken_of_real, !qcontext_of_real. apply mlp_input_same; [exact Hk|exact Hx'|].
        apply Forall2_app; [|exact Hc]. clear. induction P; constructor; auto. }
      pose proof (Hm q_1 (or_introl eq_refl) c Hcd) as M1.
      pose proof (Hm q_2 (or_intror (or_introl eq_refl)) c Hcd) as M2.
      change (real (target q_1 c)) with (real_vector (target q_1) c).
      change (real (target q_2 c)) with (real_vector (target q_2) c). rewrite <- M1, <- M2.
      unfold mlp_output. rewrite (Z c Hcd). apply (f_equal (fun t => _ + t + _)).
      apply dot_ext; [reflexivity|]. intros i _. apply (f_equal relu). unfold pre_activation.
      apply (f_equal (fun t => t + _)). apply dot_ext; [reflexivity|exact Z].
    - destruct queries as [|q [|]]; try discriminate. simpl in H.
      destruct (pieces [] t) eqn:Ep; [|discriminate].
      destruct (empties_ok_sound d m (target q) t [] _ H (Hm q (or_introl eq_refl))) as [p' [Hp _]].
      + intros i s [].
      + rewrite Ep in Hp. exact Hp.
    - destruct queries as [|q_1 [|q_2 [|]]]; try discriminate. cbn [check_pair] in H.
      repeat (apply andb_prop in H; destruct H as [H ?]).
      match goal with H : forallb _ _ = true |- _ => rename H into Hpairs end.
      match goal with H : Nat.eqb _ _ = true |- _ => apply Nat.eqb_eq in H; rename H into Hl end.
      match goal with H : covered d m (target q_2) _ = true |- _ => rename H into H2 end.
      pose proof (Hm q_1 (or_introl eq_refl)) as M1. pose proof (Hm q_2 (or_intror (or_introl eq_refl))) as M2.
      destruct (covered_sound d m (target q_1) first _ H M1) as [p_1 [Hp1 Hi1]].
      destruct (covered_sound d m (target q_2) second _ H2 M2) as [p_2 [Hp2 Hi2]].
      destruct (in_combine_first p_1 (pieces_of first) pairs Hl Hp1) as [row Hrow].
      rewrite forallb_forall in Hpairs. specialize (Hpairs _ Hrow). cbn [fst snd] in Hpairs.
      apply andb_prop in Hpairs. destruct Hpairs as [Hl2 Hpairs]. apply Nat.eqb_eq in Hl2.
      destruct (in_combine_first p_2 (pieces_of second) row Hl2 Hp2) as [s Hs].
      rewrite forallb_forall in Hpairs. specialize (Hpairs _ Hs). cbn [fst snd] in Hpairs.
      exact (separates_sound q_1 q_2 p_1 p_2 s P Hpairs HP M1 M2 Hi1 Hi2).
  Qed.
End Check.
