"""Commands on rights: grants, roles, break-glass access, moves of teams, reports."""
