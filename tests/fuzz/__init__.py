"""Coverage-guided fuzzing by atheris of what strangers' octets reach first (`make fuzz`)."""
