"""Weights of real networks: read exactly from safetensors files, named, and held against the theory's conditions."""
