"""Limits are shared between processes, a watermark remembers when its window was begun, and disputes are read again.

Spans of created_at and the steps that failed are found by indexes, and failure_reasons reads no more than those. The
statements are frozen: what schema.py and views/ say later is for later migrations.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ASKED_AT = "When the window was begun that moved the watermark last (database clock)."
LIMITS = "What the sources said about limits and waiting; kept over restarts, shared by all processes."
WAITS = "What the sources said about waiting; kept over restarts, shared by all processes."
READ_AGAIN_AT = "When it was last read again because of this; null if it was not."
VERDICTS = "disputed, unproved, lost or differs."
FORMER_VERDICTS = "disputed, unproved or lost."
COLUMNS = (
    ("limit_requests", sa.BigInteger(), "Requests that the source allows in limit_seconds."),
    ("limit_seconds", sa.Double(), "Seconds in which limit_requests may be made."),
    ("spending", JSONB(), "Requests made lately by purpose, as far as they count against the limit."),
)


def upgrade() -> None:
    op.add_column(
        "watermarks", sa.Column("asked_at", sa.DateTime(timezone=True), comment=ASKED_AT), schema="syncer"
    )
    for name, type_, comment in COLUMNS:
        op.add_column("rate_limits", sa.Column(name, type_, comment=comment), schema="syncer")
    op.create_table_comment("rate_limits", LIMITS, existing_comment=WAITS, schema="syncer")
    op.alter_column("window_audit", "verdict", comment=VERDICTS, schema="syncer")
    op.add_column(
        "window_audit",
        sa.Column("read_again_at", sa.DateTime(timezone=True), comment=READ_AGAIN_AT),
        schema="syncer",
    )
    indexed = Path(__file__).with_suffix(".sql").read_text("utf-8")
    op.get_bind().exec_driver_sql(indexed, execution_options={"no_parameters": True})


def downgrade() -> None:
    # The view stays: over the former tables it answers the same.
    op.drop_index("executions_created_idx", "executions", schema="history")
    op.drop_index("executions_failed_steps_idx", "executions", schema="history")
    op.drop_column("watermarks", "asked_at", schema="syncer")
    op.drop_column("window_audit", "read_again_at", schema="syncer")
    for name, _, _ in COLUMNS:
        op.drop_column("rate_limits", name, schema="syncer")
    op.create_table_comment("rate_limits", WAITS, existing_comment=LIMITS, schema="syncer")
    op.alter_column("window_audit", "verdict", comment=FORMER_VERDICTS, schema="syncer")
