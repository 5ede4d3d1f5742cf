"""Developers' tools: generated pages, set-up of environments, past versions."""
