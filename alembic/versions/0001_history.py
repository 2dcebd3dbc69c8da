"""The first schema: all of `history` and `syncer`.

Its SQL is frozen in the file beside it; what schema.py and views/ say later is for later migrations.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

VIEWS = (
    "execution_facts",
    "execution_labels",
    "failure_reasons",
    "running_now",
    "step_facts",
    "sync_freshness",
    "workflow_daily",
)
HISTORY = (
    "connections",
    "workflows",
    "workflow_revisions",
    "workflow_nodes",
    "executions",
    "step_events",
    "steps",
    "step_io",
)
DAEMON = (
    "watermarks",
    "leases",
    "runs",
    "backfill_windows",
    "window_audit",
    "quarantine",
    "rate_limits",
    "grants",
)


def upgrade() -> None:
    run(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    # No CASCADE: a view that somebody built on these tables stops it instead of vanishing.
    run(f"DROP VIEW {', '.join(f'history.{name}' for name in VIEWS)}")
    run(f"DROP TABLE {', '.join(f'history.{name}' for name in HISTORY)}")
    run(f"DROP TABLE {', '.join(f'syncer.{name}' for name in DAEMON)}")
    run("DROP SCHEMA history")


def run(sql: str) -> None:
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})
