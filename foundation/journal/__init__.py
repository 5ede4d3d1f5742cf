"""The journal of events: written, kept in hourly files, searched."""
