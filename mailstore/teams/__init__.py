"""A team's work on messages: claims, notes, work states, answers."""
