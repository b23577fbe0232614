"""Stacks, norm proofs and layer proofs as certificates hold them (docs/certificate-format.md, "Parts for depth")."""

from __future__ import annotations

from typing import Any

from constructions.depth.constants import LayerNorms, Norm, Region, Stack
from constructions.numbers.spectral_norm import NormProof
from constructions.transformer import Layer, Transformer
from verify import certificate as write


def norm_proof(proof: NormProof) -> dict[str, Any]:
    factor = None if proof.factor is None else write.matrix(proof.factor)
    return {"bound": write.scalar(proof.bound), "factor": factor}


def layer_proof(norms: LayerNorms) -> dict[str, Any]:
    heads = [{"bilinear": norm_proof(head.bilinear), "value": norm_proof(head.value)} for head in norms.heads]
    output = None
    if norms.joined is not None:
        output = {
            "joined": norm_proof(norms.joined.output),
            "values": [norm_proof(W_v) for W_v in norms.joined.W_v],
        }
    return {"heads": heads, "output": output, "W_1": norm_proof(norms.W_1), "W_2": norm_proof(norms.W_2)}


def layers(model: Transformer) -> list[dict[str, Any]]:
    """Every layer on its own; the embedding is written in the first."""
    return [write.layer(Transformer((layer,), model.E if i == 0 else None)) for i, layer in enumerate(model.layers)]


def stack(model: Transformer, region: Region, norm: Norm) -> dict[str, Any]:
    return {
        "layers": layers(model),
        "norm": norm,
        "prompt_length": region.prompt_length,
        "input_length": region.input_length,
        "prompt_radius": write.scalar(region.prompt_radius),
        "input_radius": write.scalar(region.input_radius),
    }


def single(layer: Layer, region: Region, norm: Norm) -> dict[str, Any]:
    """A stack of one layer."""
    return stack(Transformer((layer,)), region, norm)


def proofs(found: Stack) -> dict[str, Any]:
    """The witness of the relations about whole stacks."""
    return {"layers": [layer_proof(norms) for norms in found.norms]}
