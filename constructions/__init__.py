"""Exact constructions: numbers, the transformer of THEORY section 0, and the objects of each theorem."""
