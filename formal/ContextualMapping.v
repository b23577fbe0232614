(* The contextual mapping of the universal hardmax network: sweep and global shift, layer by layer, on ids.

   Ids are multiples of delta = 1/k and are kept as integers, id/delta. The k grid values of d entries give c = k^d codes
   for a column; column j (from 0) with code a has the id j U k + a, U = 1 + k + ... + k^(d-1). *)

From Coq Require Import ZArith List Lia Bool.
From Coq Require Import Sorting.Mergesort Sorting.Sorted Sorting.Permutation Orders.
Import ListNotations.
Open Scope Z_scope.

Fixpoint geometric (k : Z) (d : nat) : Z :=
  match d with
  | O => 0
  | S e => geometric k e * k + 1
  end.

(* 0, 1, ..., n - 1 *)
Definition numbers (n : nat) : list Z := map Z.of_nat (seq 0 n).

Definition largest (ids : list Z) : Z := fold_right Z.max (hd 0 ids) ids.
Definition smallest (ids : list Z) : Z := fold_right Z.min (hd 0 ids) ids.

(* One attention layer of the sweep: a column with id v is lifted by c (max - min). *)
Definition lift (c v : Z) (ids : list Z) : list Z :=
  map (fun l => if l =? v then l + c * (largest ids - smallest ids) else l) ids.

(* The global shift: G max is added to every id. *)
Definition global_shift (G : Z) (ids : list Z) : list Z := map (fun l => l + G * largest ids) ids.

Section Map.
  Variables (d m k : nat) (G : Z).

  Definition codes : nat := (k ^ d)%nat.
  Definition c : Z := Z.of_nat codes.
  Definition n : nat := (m * (k ^ (d * m) + 1))%nat. (* columns: the prompt's m k^(dm), and m that are read *)
  Definition Uk : Z := geometric (Z.of_nat k) d * Z.of_nat k.

  Definition id_of (j a : Z) : Z := j * Uk + a.

  (* All possible ids, in increasing order: the sweep has a layer for each. *)
  Definition all_ids : list Z := flat_map (fun j => map (id_of j) (numbers codes)) (numbers n).

  (* A context: a code for every column. *)
  Definition context (a : list Z) : Prop := length a = n /\ forall x, In x a -> 0 <= x < c.

  Definition start (a : list Z) : list Z := map (fun ja => id_of (fst ja) (snd ja)) (combine (numbers n) a).
  Definition sweep (ids : list Z) : list Z := fold_left (fun ids v => lift c v ids) all_ids ids.
  Definition final_ids (a : list Z) : list Z := global_shift G (sweep (start a)).

  (* How often the column with number j is lifted. *)
  Fixpoint firings (layers : list Z) (ids : list Z) (j : nat) : nat :=
    match layers with
    | [] => 0%nat
    | v :: rest => ((if (nth j ids 0 =? v)%Z then 1 else 0) + firings rest (lift c v ids) j)%nat
    end.

  (* The id of a read column: one of the last m. *)
  Definition read_column (i : nat) : Prop := (n - m <= i < n)%nat.

  (* Every column is lifted exactly once, and different (context, read column) have different final ids. *)
  Definition distinct_ids : Prop :=
    (forall a, context a -> forall j, (j < n)%nat -> firings all_ids (start a) j = 1%nat)
    /\ (forall a b i j, context a -> context b -> read_column i -> read_column j ->
        nth i (final_ids a) 0 = nth j (final_ids b) 0 -> a = b /\ i = j).

  (* Two different ones have the same. *)
  Definition collision : Prop :=
    exists a b i j, context a /\ context b /\ read_column i /\ read_column j
                    /\ (a <> b \/ i <> j) /\ nth i (final_ids a) 0 = nth j (final_ids b) 0.
End Map.

(* By computation. *)
Module ZOrder <: TotalLeBool.
  Definition t := Z.
  Definition leb := Z.leb.
  Lemma leb_total : forall x y, leb x y = true \/ leb y x = true.
  Proof. intros x y. unfold leb. rewrite !Z.leb_le. lia. Qed.
End ZOrder.
Module ZSort := Sort ZOrder.

Fixpoint increasing (l : list Z) : bool :=
  match l with
  | x :: ((y :: _) as rest) => (x <? y) && increasing rest
  | _ => true
  end.

Lemma increasing_above l : forall x, increasing (x :: l) = true -> forall y, In y l -> x < y.
Proof.
  induction l as [|z l IH]; intros x Hx y Hy; [destruct Hy|].
  cbn [increasing] in Hx. apply andb_prop in Hx. destruct Hx as [Hxz Hz]. apply Z.ltb_lt in Hxz.
  destruct Hy as [->|Hy]; [exact Hxz|]. specialize (IH z Hz y Hy). lia.
Qed.

Lemma increasing_NoDup l : increasing l = true -> NoDup l.
Proof.
  induction l as [|x l IH]; intros Hl; constructor.
  - intros Hx. pose proof (increasing_above l x Hl x Hx). lia.
  - apply IH. destruct l; [reflexivity|]. cbn [increasing] in Hl. apply andb_prop in Hl. tauto.
Qed.

Definition all_different (l : list Z) : bool := increasing (ZSort.sort l).

Lemma all_different_NoDup l : all_different l = true -> NoDup l.
Proof.
  intros H. apply increasing_NoDup in H. eapply Permutation_NoDup; [|exact H].
  apply Permutation_sym, ZSort.Permuted_sort.
Qed.

(* All lists of length n with entries in 0, ..., c - 1. *)
Fixpoint all_contexts (c n : nat) : list (list Z) :=
  match n with
  | O => [[]]
  | S n' => flat_map (fun a => map (fun x => x :: a) (numbers c)) (all_contexts c n')
  end.

Lemma in_numbers n x : In x (numbers n) <-> 0 <= x < Z.of_nat n.
Proof.
  unfold numbers. rewrite in_map_iff. split.
  - intros [i [<- Hi]]. apply in_seq in Hi. lia.
  - intros H. exists (Z.to_nat x). rewrite in_seq. lia.
Qed.

Lemma in_all_contexts c n : forall a, length a = n -> (forall x, In x a -> 0 <= x < Z.of_nat c) -> In a (all_contexts c n).
Proof.
  induction n as [|n IH]; intros a Hl Ha; destruct a as [|x a]; try discriminate; [simpl; auto|].
  simpl. apply in_flat_map. exists a. split.
  - apply IH; [now injection Hl|intros; apply Ha; simpl; auto].
  - apply (in_map (fun x => x :: a)). apply in_numbers. apply Ha. simpl; auto.
Qed.

(* A function without repeated values on a list is injective on it. *)
Lemma NoDup_map_injective {A} (f : A -> Z) (l : list A) : NoDup (map f l) ->
  forall x y, In x l -> In y l -> f x = f y -> x = y.
Proof.
  induction l as [|z l IH]; simpl; intros H x y Hx Hy E; [contradiction|].
  inversion H as [|? ? Hn Hd]; subst.
  destruct Hx as [->|Hx], Hy as [->|Hy]; auto.
  - exfalso. apply Hn. rewrite E. now apply in_map.
  - exfalso. apply Hn. rewrite <- E. now apply in_map.
Qed.

Definition check_distinct (d m k : nat) (G : Z) : bool :=
  let contexts := all_contexts (codes d k) (n d m k) in
  let layers := all_ids d m k in
  let columns := seq (n d m k - m) m in
  forallb (fun a => forallb (fun j => Nat.eqb (firings d k layers (start d m k a) j) 1) (seq 0 (n d m k))) contexts
  && all_different (flat_map (fun a => let ids := final_ids d m k G a in map (fun i => nth i ids 0) columns) contexts).

Theorem check_distinct_sound d m k G : check_distinct d m k G = true -> distinct_ids d m k G.
Proof.
  unfold check_distinct. intros H. apply andb_prop in H. destruct H as [Hf Hd]. split.
  - intros a [Hl Ha] j Hj. rewrite forallb_forall in Hf. specialize (Hf a (in_all_contexts _ _ a Hl Ha)).
    rewrite forallb_forall in Hf. apply Nat.eqb_eq. apply Hf. apply in_seq. lia.
  - intros a b i j [Hla Ha] [Hlb Hb] Hi Hj E. apply all_different_NoDup in Hd.
    set (columns := seq (n d m k - m) m) in *.
    set (contexts := all_contexts (codes d k) (n d m k)) in *.
    assert (P : NoDup (map (fun p => nth (snd p) (final_ids d m k G (fst p)) 0) (list_prod contexts columns))).
    { match type of Hd with NoDup ?l => replace (map _ _) with l; [exact Hd|] end.
      clear. induction contexts as [|a l IH]; simpl; [reflexivity|].
      rewrite map_app, map_map, IH. reflexivity. }
    assert (I : (a, i) = (b, j)).
    { apply (NoDup_map_injective _ _ P); [| |exact E]; apply in_prod; try (now apply in_all_contexts);
        apply in_seq; unfold read_column in *; lia. }
    now injection I.
Qed.

Definition is_context (d m k : nat) (a : list Z) : bool :=
  Nat.eqb (length a) (n d m k) && forallb (fun x => (0 <=? x) && (x <? c d k)) a.

Lemma is_context_sound d m k a : is_context d m k a = true -> context d m k a.
Proof.
  unfold is_context. intros H. apply andb_prop in H. destruct H as [Hl Ha]. apply Nat.eqb_eq in Hl.
  split; [exact Hl|]. intros x Hx. rewrite forallb_forall in Ha. specialize (Ha x Hx).
  apply andb_prop in Ha. destruct Ha as [H1 H2]. apply Z.leb_le in H1. apply Z.ltb_lt in H2. lia.
Qed.

Definition list_eqb (a b : list Z) : bool := if list_eq_dec Z.eq_dec a b then true else false.

Definition check_collision (d m k : nat) (G : Z) (a b : list Z) (i j : nat) : bool :=
  is_context d m k a && is_context d m k b
  && Nat.leb (n d m k - m) i && Nat.ltb i (n d m k) && Nat.leb (n d m k - m) j && Nat.ltb j (n d m k)
  && negb (list_eqb a b && Nat.eqb i j)
  && (nth i (final_ids d m k G a) 0 =? nth j (final_ids d m k G b) 0).

Theorem check_collision_sound d m k G a b i j : check_collision d m k G a b i j = true -> collision d m k G.
Proof.
  unfold check_collision. rewrite !andb_true_iff. intros H. decompose [and] H. clear H.
  repeat match goal with
  | E : is_context _ _ _ _ = true |- _ => apply is_context_sound in E
  | E : Nat.leb _ _ = true |- _ => apply Nat.leb_le in E
  | E : Nat.ltb _ _ = true |- _ => apply Nat.ltb_lt in E
  | E : (_ =? _) = true |- _ => apply Z.eqb_eq in E
  end.
  exists a, b, i, j. unfold read_column.
  split; [assumption|]. split; [assumption|]. split; [lia|]. split; [lia|]. split; [|assumption].
  unfold list_eqb in *. destruct (list_eq_dec Z.eq_dec a b) as [->|Hne]; [|left; exact Hne].
  destruct (Nat.eqb_spec i j) as [->|Hne]; [discriminate|right; exact Hne].
Qed.
