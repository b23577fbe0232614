"""One attention layer and its MLP: what a prompt can and cannot do (THEORY sections 1 to 5)."""
