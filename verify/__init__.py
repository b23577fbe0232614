"""Claims about the constructions, and the certificates that carry them to the independent kernel."""

__version__ = "0.1.0"
