"""What developers run: generation of pages, set-up of environments."""
