"""The embedded PostgreSQL: a server of our own, for people who have none.

    server.py     start, stop and find the one server of a data folder
    programs.py   where initdb, pg_ctl and postgres are
    account.py    whom they run as, and which folders that account can reach

Invariant: one data folder has at most one server, however many processes ask for it. It must not know tables,
migrations or the configuration file.
"""

from syncer.embedded.programs import Programs, installed_programs
from syncer.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "Programs", "installed_programs"]
