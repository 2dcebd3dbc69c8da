"""Writing rows: ask what changed, COPY what is new, stage and upsert what changed, leave the rest untouched.

Every function takes the database handle `db` inside an open transaction and never commits. This package must not
know HTTP or a platform.
"""
