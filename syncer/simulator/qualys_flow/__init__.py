"""Qualys Flow, simulated from its documents.

Invariant: nothing here is written from what a client expects. It must not know that other platforms exist;
what they share (clock, truth, history, server) stands one folder up.
"""
