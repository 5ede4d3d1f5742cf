"""Coverage-guided fuzzing (atheris) of code that strangers' octets reach first (`make fuzz`)."""
