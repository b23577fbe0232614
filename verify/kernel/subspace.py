"""Claim `prompted-injectivity`, relation `subspace`: a collapse on a subspace, with queries and keys of any rank.

H is the range of B (independent columns). If B^T W_k^T W_q B = 0, tokens of H have scores of zero among themselves, so
attention is uniform on them; if V B = B N, it keeps H, and in coordinates of H it is the collapse (collapse.py) with N
in place of V.
"""

from dataclasses import dataclass

from attention import Head
from injective import demand_contractions
from layer_constants import LayerProof, read_layer_proofs
from limits import DEADLINE, demand
from plain_layers import read_plain_layers
from rational import Matrix, identity, read_matrix
from reading import Field
from stack import Region, Stack, read_count, read_positive
from vectors import rank


@dataclass(frozen=True)
class Subspace:
    """Layers and a region; a basis, what each layer does in its coordinates; norm proofs."""

    stack: Stack
    basis: Matrix
    coordinates: tuple[Matrix, ...]
    proofs: tuple[LayerProof, ...]

    def check(self) -> str:
        """All tokens within the radius are told apart, and those of H collapse."""
        B, m_p = self.basis, self.stack.region.prompt_length
        demand(rank(B.rows) == B.width, "the columns of the basis are dependent")
        product = identity(B.width)
        for l, (layer, N) in enumerate(zip(self.stack.layers, self.coordinates, strict=True)):
            DEADLINE.check()
            self._demand_kept(layer.heads[0], N, f"layer {l}")
            product += N.times(product)
        collapsed = Matrix(tuple(tuple(-m_p * n for n in row) for row in identity(B.width).rows), 1, B.width)
        demand(product.equals(collapsed), f"the product of the layers on the subspace is not -{m_p}")
        demand_contractions(self.stack, self.proofs, "joint")
        return (
            f"layers that tell all tokens within the radius apart give minus the sum of the tokens of the prompt at "
            f"the input token, for every prompt and input in a subspace of {B.width} dimensions "
            f"({self.stack.describe()})"
        )

    def _demand_kept(self, head: Head, N: Matrix, where: str) -> None:
        B = self.basis
        scores = head.W_k.times(B).transposed().times(head.W_q.times(B))
        demand(not any(n for row in scores.rows for n in row), f"{where}: scores on the subspace are not zero")
        demand(
            head.W_o.times(head.W_v.times(B)).equals(B.times(N)),
            f"{where}: the values on the subspace are not those of the coordinates",
        )


def read_subspace(instance: Field, witness: Field) -> Subspace:
    """The statement of a certificate and its witness, read but not checked."""
    layers_field, basis_field, length, radius_field = instance.record("layers", "basis", "prompt_length", "radius")
    coordinates, proofs = witness.record("coordinates", "layers")
    layers = read_plain_layers(layers_field, one_head=True)
    for place, layer in zip(layers_field.items(), layers, strict=True):
        if not layer.heads[0].b_q.is_zero():
            place.fail("b_q zero")
    basis = read_matrix(basis_field, layers[0].mlp.d)
    if basis.width == 0:
        basis_field.fail("at least one column", "none")
    radius, m_p = read_positive(radius_field), read_count(length, 1)
    k = basis.width
    return Subspace(
        Stack(layers, False, None, "max", Region(m_p, 1, radius, radius)),
        basis,
        tuple(read_matrix(field, k, k) for field in coordinates.items(len(layers))),
        read_layer_proofs(proofs, layers),
    )
