"""The rules of admission (sender, recipient, message) and the facts that they judge."""
