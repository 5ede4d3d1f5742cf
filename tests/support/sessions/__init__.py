"""SMTP conversations: dialogues, scripted peers, hostile clients."""
