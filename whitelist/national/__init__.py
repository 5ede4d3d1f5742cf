"""The national white list: its document, signature, adoption and look-up."""
