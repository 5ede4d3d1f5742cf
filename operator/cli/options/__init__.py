"""Options of commands: types of their values, and sets that several commands share."""
