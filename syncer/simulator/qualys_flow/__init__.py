"""Qualys Flow, simulated from its documents."""
