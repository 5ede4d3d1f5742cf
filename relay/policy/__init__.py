"""Who may send what to whom: rules of admission and the facts that they judge."""
