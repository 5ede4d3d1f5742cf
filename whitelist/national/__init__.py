"""The national white list: document, signature, adoption and lookup."""
