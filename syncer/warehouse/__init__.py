"""The warehouse: reaching it, bringing its schema to this version, and letting others read it.

Invariant: tables stand in schema.py and views in views/, nowhere else. Must not know sources, the
configuration or what the rows mean.
"""

from syncer.warehouse.definition import create_all, ddl, views
from syncer.warehouse.reach import engine, explain
from syncer.warehouse.revisions import check_version, current, downgrade, head, is_behind, migrate
from syncer.warehouse.roles import Rights, grant, rights

__all__ = [
    "Rights",
    "check_version",
    "create_all",
    "current",
    "ddl",
    "downgrade",
    "engine",
    "explain",
    "grant",
    "head",
    "is_behind",
    "migrate",
    "rights",
    "views",
]
