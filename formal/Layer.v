(* What a layer is, over the reals: heads, MLP, skip connections; and what it means that no prompt meets some queries.

   This file is to be read by whoever wants to know what a replayed certificate says. The parameters are functions of
   indices; out of range they are never looked at. Their type is K, so that the same records hold rationals in a
   certificate and real numbers in a theorem. *)

From Coq Require Import Reals List.
From PromptCert Require Import Sums Attention Vectors.
Import ListNotations.
Open Scope R_scope.

(* W_q, W_k, W_v: size x d; W_o: d x size; b_q: size *)
Record head (K : Type) := Head
  { size : nat; W_q : matrix K; W_k : matrix K; W_v : matrix K; W_o : matrix K; b_q : vector K }.

(* W_1: units x d; b_1: units; W_2: d x units; b_2: d *)
Record mlp (K : Type) := Mlp { units : nat; W_1 : matrix K; b_1 : vector K; W_2 : matrix K; b_2 : vector K }.

(* Tokens are vectors of length d. With a causal mask a token sees what is before it, and itself. *)
Record layer (K : Type) := Layer { d : nat; heads : list (head K); feed_forward : mlp K; causal : bool }.

(* The output at the token of X with number column (from 0) is asked to be target. *)
Record query (K : Type) := Query { X : list (vector K); column : nat; target : vector K }.

Arguments Head {K}. Arguments Mlp {K}. Arguments Layer {K}. Arguments Query {K}.
Arguments size {K}. Arguments W_q {K}. Arguments W_k {K}. Arguments W_v {K}. Arguments W_o {K}. Arguments b_q {K}.
Arguments units {K}. Arguments W_1 {K}. Arguments b_1 {K}. Arguments W_2 {K}. Arguments b_2 {K}.
Arguments d {K}. Arguments heads {K}. Arguments feed_forward {K}. Arguments causal {K}.
Arguments X {K}. Arguments column {K}. Arguments target {K}.

(* q = W_k^T (W_q x + b_q); the score of a token z is q . z *)
Definition logit_vector (d : nat) (h : head R) (x : vector R) : vector R :=
  apply (size h) (transposed (W_k h)) (fun i => apply d (W_q h) x i + b_q h i).

(* V z = W_o (W_v z) *)
Definition value (d : nat) (h : head R) (z : vector R) : vector R := apply (size h) (W_o h) (apply d (W_v h) z).

(* Softmax attention of the head to the tokens Z, asked by x: coordinate c of the output *)
Definition head_output (d : nat) (h : head R) (x : vector R) (Z : list (vector R)) : vector R :=
  fun c => attention (dot d (logit_vector d h x)) (fun z => value d h z c) Z.

Definition relu (t : R) : R := Rmax 0 t.

(* W_1 z + b_1 *)
Definition pre_activation (d : nat) (m : mlp R) (z : vector R) : vector R := fun i => apply d (W_1 m) z i + b_1 m i.

(* MLP(z) = z + W_2 ReLU(W_1 z + b_1) + b_2 *)
Definition mlp_output (d : nat) (m : mlp R) (z : vector R) : vector R :=
  fun c => z c + apply (units m) (W_2 m) (fun i => relu (pre_activation d m z i)) c + b_2 m c.

(* What enters the MLP: the sum of the heads, and the token itself. *)
Definition mlp_input (L : layer R) (x : vector R) (Z : list (vector R)) : vector R :=
  fun c => sum (fun h => head_output (d L) h x Z c) (heads L) + x c.

Definition layer_output (L : layer R) (x : vector R) (Z : list (vector R)) : vector R :=
  mlp_output (d L) (feed_forward L) (mlp_input L x Z).

(* The token that is asked, and what it sees of X. *)
Definition token_of (q : query R) : vector R := nth (column q) (X q) (fun _ => 0).
Definition context_of (L : layer R) (q : query R) : list (vector R) :=
  if causal L then firstn (S (column q)) (X q) else X q.

(* With the prompt P in front of X, the output at the token is the target, in all d coordinates. *)
Definition meets (L : layer R) (P : list (vector R)) (q : query R) : Prop :=
  forall c, (c < d L)%nat -> layer_output L (token_of q) (P ++ context_of L q) c = target q c.

(* No prompt, of however many tokens, meets all the queries. *)
Definition no_prompt_meets (L : layer R) (queries : list (query R)) : Prop :=
  forall P : list (vector R), P <> [] -> ~ (forall q, In q queries -> meets L P q).

(* A stack of layers without mask: every layer maps all tokens, each asking all of them. *)
Definition layer_map (L : layer R) (Z : list (vector R)) : list (vector R) := map (fun x => layer_output L x Z) Z.
Definition stack_output (layers : list (layer R)) (Z : list (vector R)) : list (vector R) :=
  fold_left (fun Z L => layer_map L Z) layers Z.

(* The same tokens, coordinate by coordinate. *)
Definition same (d : nat) (Z Z' : list (vector R)) : Prop :=
  Forall2 (fun z z' => forall c, (c < d)%nat -> z c = z' c) Z Z'.

(* Whatever the prompt P of m_p tokens and the input token x: the output at x is minus the sum of the prompt. *)
Definition forgets_its_input (d : nat) (layers : list (layer R)) (m_p : nat) : Prop :=
  forall (P : list (vector R)) (x : vector R), length P = m_p ->
  forall c, (c < d)%nat -> last (stack_output layers (P ++ [x])) (fun _ => 0) c = - sum (fun p => p c) P.

(* Different tokens (M of them, prompt and input together) have different outputs. *)
Definition injective (d : nat) (layers : list (layer R)) (M : nat) : Prop :=
  forall Z Z', length Z = M -> length Z' = M ->
  same d (stack_output layers Z) (stack_output layers Z') -> same d Z Z'.

(* The value maps shrink all vectors by a common factor: with uniform attention this is a contraction. *)
Definition values_contract (d : nat) (L : layer R) : Prop :=
  forall h, In h (heads L) -> exists factor, 0 <= factor < 1 /\
  forall v, dot d (value d h v) (value d h v) <= factor * dot d v v.

(* A collapse: layers whose attention contracts, so that the stack is injective on all tokens, and yet the output
   at the input token says nothing about it. *)
Definition is_collapse (d : nat) (layers : list (layer R)) (m_p : nat) : Prop :=
  (forall L, In L layers -> values_contract d L) /\ injective d layers (S m_p) /\ forgets_its_input d layers m_p.
