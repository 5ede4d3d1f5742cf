"""Trace journal: writer, hourly files, search."""
