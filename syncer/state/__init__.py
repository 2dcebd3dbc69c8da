"""The daemon's memory between runs: leases, watermarks, the ledger, quarantine, waits, runs.

Every function takes the database handle `db` inside an open transaction and never commits.
"""
