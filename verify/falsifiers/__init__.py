"""A search for each claim that tries to refute it: one file for each, the search itself in falsifier.py."""
