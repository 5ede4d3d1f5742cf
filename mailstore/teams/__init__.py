"""A team's work on messages: assignments, notes, work states, answers."""
