"""Deep transformers: what stays invertible, and what prompts can still collapse (THEORY section 7)."""
