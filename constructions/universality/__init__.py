"""One network and, for every Lipschitz function, one prompt (THEORY section 6)."""
