"""Rights: who may do what to which mailbox, and the acts that change it."""
