"""The only definition of the warehouse's tables: Alembic, the loader, the tests and the data dictionary read it.

Schema `history` is for people and BI tools: every column says what it means and in which unit. Schema `syncer`
is the daemon's own. Columns are only ever added, at the end. Nothing here depends on triggers, foreign keys
between streams or `now()` inside an upsert, so that the tables could be distributed by `execution_id`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

HISTORY = "history"
DAEMON = "syncer"

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pkey"})

Identifier = Text(collation="C")
Instant = DateTime(timezone=True)
_DURATION = "(EXTRACT(epoch FROM (ended_at - started_at)) * 1000)::bigint"
_UTC_DAY = "((created_at AT TIME ZONE 'UTC')::date)"


def _key(name: str, comment: str) -> Column[Any]:
    return Column(name, Identifier, primary_key=True, comment=comment)


def _id(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Identifier, comment=comment, **options)


def _text(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Text, comment=comment, **options)


def _texts(name: str, comment: str) -> Column[Any]:
    return Column(name, ARRAY(Text), comment=comment)


def _time(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Instant, comment=comment, **options)


def _count(name: str, comment: str, **options: Any) -> Column[Any]:
    return Column(name, Integer, comment=comment, **options)


def _json(name: str, comment: str) -> Column[Any]:
    return Column(name, JSONB, comment=comment)


def _connection() -> Column[Any]:
    return _key("connection_id", "Name of the connection in the configuration: one tenant of one platform.")


def _duration() -> Column[Any]:
    return Column(
        "duration_ms",
        BigInteger,
        Computed(_DURATION, persisted=True),
        comment="Milliseconds from started_at to ended_at; null while either is missing.",
    )


def _extra() -> Column[Any]:
    return _json(
        "extra",
        "Fields of the source without a column of their own, as sent; _repaired names columns whose text was mended.",
    )


def _synced() -> Column[Any]:
    return _time(
        "synced_at",
        "When this row was last written (database clock); visible up to a minute later.",
        nullable=False,
    )


def _hash() -> Column[Any]:
    return Column(
        "_row_hash",
        LargeBinary,
        nullable=False,
        comment="Digest of the source's fields; the daemon writes a row only when it differs.",
    )


def _missing(reasons: str) -> tuple[Column[Any], Column[Any]]:
    return (
        _time("missing_since", "When the source was first found not to have it any more; null while it has."),
        _text("missing_reason", f"Why it is missing at the source: {reasons}."),
    )


def _asked() -> Column[Any]:
    return _time(
        "_asked_at",
        "When the request for this copy was sent (database clock); an older copy never overwrites it.",
        nullable=False,
    )


connections = Table(
    "connections",
    metadata,
    _connection(),
    _text("platform", "Kind of platform the connection reads, e.g. qualys_flow.", nullable=False),
    _text("base_url", "Address of the platform's API.", nullable=False),
    _time("first_synced_at", "When the first sync of this connection began.", nullable=False),
    _json("extra", "Facts that hold for the whole connection, such as the customer's id."),
    schema=HISTORY,
    comment="Configured tenants whose history is copied here.",
)

workflows = Table(
    "workflows",
    metadata,
    _connection(),
    _key("workflow_id", "The workflow's id at the source."),
    _text("name", "Name of the workflow."),
    _text("description", "Description as its author wrote it."),
    Column("is_active", Boolean, comment="Whether the source runs the workflow when triggered."),
    _text("type", "The source's own word for the kind of workflow."),
    _text("revision", "The source's version of the definition."),
    _id("created_by", "Id of the user who created it."),
    _time("created_at", "When it was created at the source."),
    _time("updated_at", "When the source last changed it."),
    _time("deleted_at", "When the source says it was deleted."),
    _text("last_execution_status", "Status of its latest execution, in the source's own word."),
    _time("last_execution_ended_at", "When its latest execution ended."),
    _text("last_execution_message", "Message of its latest execution."),
    _texts("tags", "Tags as sent."),
    _json("definition", "The workflow's definition; workflow_nodes holds it node by node."),
    _json("properties", "The source's properties of the workflow, as sent."),
    _extra(),
    *_missing("workflow_deleted"),
    _synced(),
    _hash(),
    _asked(),
    schema=HISTORY,
    comment="Workflows (playbooks) as the source last showed them; never deleted here.",
)

workflow_revisions = Table(
    "workflow_revisions",
    metadata,
    _connection(),
    _key("workflow_id", "The workflow's id at the source."),
    _key("revision", "The source's revision, or a hash of the definition where it names none."),
    _json("definition", "The definition of this revision."),
    _time("first_seen_at", "When this revision was first read.", nullable=False),
    _time("last_seen_at", "When this revision was last written as the current one.", nullable=False),
    schema=HISTORY,
    comment="What each workflow looked like over time.",
)

workflow_nodes = Table(
    "workflow_nodes",
    metadata,
    _connection(),
    _key("workflow_id", "The workflow's id at the source."),
    _key("node_id", "The node's id within the workflow."),
    _text("name", "Name of the node."),
    _text("node_type", "The source's own word for the kind of node."),
    _count("position", "Place in the definition, counting from 0."),
    Column("next_node_ids", ARRAY(Identifier), comment="Ids of the nodes that follow."),
    _text("script", "Name of the script or task the node runs."),
    _json("inputs", "The node's configured inputs."),
    _time(
        "removed_at", "When a later definition was first seen without this node; null while it is part of it."
    ),
    _synced(),
    _hash(),
    schema=HISTORY,
    comment="Nodes of every workflow definition, kept when a later definition drops them.",
)

executions = Table(
    "executions",
    metadata,
    _connection(),
    _key("execution_id", "The execution's id at the source."),
    _id("workflow_id", "Id of the workflow that ran.", nullable=False),
    _text("workflow_name", "Name of the workflow as the execution itself carries it; see execution_facts."),
    _text("status", "The source's own word for its state."),
    _text("outcome", "queued, running, succeeded, failed, canceled or unknown.", nullable=False),
    _text("execution_type", "The source's own word for the kind of execution."),
    _text("trigger", "What started it, in the source's own word."),
    _id("subject_id", "Id of the object it ran for."),
    _id("parent_execution_id", "Id of the execution that started this one."),
    Column("linked_execution_ids", ARRAY(Identifier), comment="Ids of executions linked to this one."),
    _text("message", "The source's message, usually the reason of a failure."),
    _text(
        "failure_reason",
        "Fingerprint of the message of a failed execution: ids, numbers and names taken out.",
    ),
    _time("created_at", "When it was created at the source: the time its lists filter by.", nullable=False),
    _time("started_at", "When it started."),
    _time("ended_at", "When it ended; null while it runs."),
    _time("updated_at", "When the source last changed it."),
    _duration(),
    _json("variables", "Variables it ran with; null where they are not copied."),
    _json("categories", "Categories as sent."),
    _texts("tags", "Tags as sent."),
    _count("step_count", "Number of step attempts; null until its steps are read."),
    _count("failed_step_count", "Number of failed step attempts; null until its steps are read."),
    _text("steps_state", "due, read, gone, failed or off: whether its steps are copied.", nullable=False),
    _time("steps_read_at", "When its steps were last read (database clock)."),
    _extra(),
    _time("settled_at", "When the copy became final; null while it may still change."),
    *_missing("gone, workflow_deleted or aged_out"),
    _synced(),
    _hash(),
    _asked(),
    _id("_partition", "What the watermark covering this row belongs to.", nullable=False),
    _time("_ended_at", "End as known to the daemon, in the source's time; null while open."),
    _time("_final_at", "When its row was read at end + settle or later; null before."),
    _count("_steps_tries", "Failed attempts to read its steps.", nullable=False, server_default=text("0")),
    _time("_steps_retry_at", "When its steps are tried again after failures."),
    schema=HISTORY,
    comment="One row per execution (run) of a workflow.",
)

step_events = Table(
    "step_events",
    metadata,
    _connection(),
    _key("execution_id", "The execution's id at the source."),
    _key("event_id", "The event's id, or a stable stand-in where the source gives none."),
    _id("node_id", "Id of the node the event belongs to.", nullable=False),
    _text("node_type", "The source's own word for the kind of node."),
    Column("event_order", BigInteger, comment="The source's order of events within a node."),
    _text("status", "The source's own word for the state the event reports."),
    _time("created_at", "When the event was recorded at the source.", nullable=False),
    _time("updated_at", "When the source last changed the event."),
    _time("started_at", "When the step started."),
    _time("ended_at", "When the step ended; null while it runs."),
    _text("message", "The event's message."),
    _json("details", "The event's details, as sent."),
    _texts("tags", "Tags as sent; null when they are the execution's."),
    _extra(),
    _synced(),
    _hash(),
    _text("_outcome", "The event's status in the vocabulary of outcome.", nullable=False),
    _text(
        "_role", "begin, end or note: what the event does when events are folded into steps.", nullable=False
    ),
    _text("_node_name", "Name of the node where the event itself carries one."),
    schema=HISTORY,
    comment="What the source sent about steps, event by event; steps holds them folded.",
)

steps = Table(
    "steps",
    metadata,
    _connection(),
    _key("execution_id", "The execution's id at the source."),
    _key("node_id", "Id of the node."),
    Column("attempt", Integer, primary_key=True, autoincrement=False, comment="Attempt of the node, from 1."),
    _text("node_name", "Name of the node as known when first written."),
    _text("node_type", "The source's own word for the kind of node."),
    _count("position", "Rank of the node's first event within the execution, from 1."),
    _text("status", "The source's own word for the last state."),
    _text("outcome", "queued, running, succeeded, failed, canceled or unknown.", nullable=False),
    _text("message", "Message of the attempt's last event."),
    _text("failure_reason", "Fingerprint of the message of a failed step: ids, numbers and names taken out."),
    _time("started_at", "When the attempt started."),
    _time("ended_at", "When the attempt ended; null when never seen to end."),
    _duration(),
    _count("event_count", "Number of events folded into this attempt.", nullable=False),
    _synced(),
    _hash(),
    schema=HISTORY,
    comment="One row per attempt of a node within an execution, folded from step_events.",
)

step_io = Table(
    "step_io",
    metadata,
    _connection(),
    _key("execution_id", "The execution's id at the source."),
    _key("node_id", "Id of the node."),
    Column("attempt", Integer, primary_key=True, autoincrement=False, comment="Attempt of the node, from 1."),
    _json("input", "The step's input, decoded."),
    _json("output", "The step's output, decoded."),
    _text("input_state", "decoded, text, absent, unsafe, undecodable or too_large.", nullable=False),
    _text("output_state", "decoded, text, absent, unsafe, undecodable or too_large.", nullable=False),
    Column("input_bytes", BigInteger, comment="Size of the decoded input in bytes; null when not known."),
    Column("output_bytes", BigInteger, comment="Size of the decoded output in bytes; null when not known."),
    Column("input_raw", LargeBinary, comment="The input as it came, where it could not be stored as it is."),
    Column(
        "output_raw", LargeBinary, comment="The output as it came, where it could not be stored as it is."
    ),
    _texts("redacted_paths", "JSON Pointers of redacted values, beginning with /input or /output."),
    _synced(),
    _hash(),
    schema=HISTORY,
    comment="Input and output of each step attempt. May hold sensitive data; no view reads it.",
)

watermarks = Table(
    "watermarks",
    metadata,
    _connection(),
    _key("stream", "workflows or executions."),
    _key(
        "partition", "What the watermark belongs to: a workflow, or a workspace; '' for a whole connection."
    ),
    _time("watermark_at", "Everything created before this instant has been read and proved."),
    _time("complete_from", "Start of the unbroken, proved span that ends at the watermark."),
    _time(
        "lookback_from", "The watermark less the lookback: rows made visible late may still appear after it."
    ),
    _text("hint", "The source's sign of change at the last completed read."),
    _time("swept_at", "When the partition was last read regardless of hints."),
    _time("last_success_at", "When a pass over this partition last succeeded."),
    _text("last_error", "What went wrong last; null after a success."),
    _time("last_error_at", "When it went wrong."),
    _time("asked_at", "When the window was begun that moved the watermark last (database clock)."),
    schema=DAEMON,
    comment="How far each partition has been copied.",
)

leases = Table(
    "leases",
    metadata,
    _connection(),
    _key("stream", "workflows, executions or steps."),
    _key("partition", "The partition, '' for a whole connection."),
    _key("lane", "live, open or history."),
    _text("owner", "Host, process and start of the holder."),
    _time("until", "When the lease ends unless renewed (database clock)."),
    Column(
        "version",
        BigInteger,
        nullable=False,
        comment="Grows with every change of holder; commits compare it.",
    ),
    schema=DAEMON,
    comment="Who works on what; one writer per partition and lane.",
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", Text, primary_key=True, comment="Id of the run, also in the log."),
    _text("command", "sync, backfill, run or demo.", nullable=False),
    _text("connection_id", "The connection worked on."),
    _text("owner", "Host and process."),
    _time("started_at", "When it began.", nullable=False),
    _time("ended_at", "When it ended; null while it works or after a crash."),
    _text("state", "running, done, partial, failed or stopped.", nullable=False),
    _json("counts", "Requests by endpoint and rows by table."),
    _text("error", "What went wrong, when something did."),
    schema=DAEMON,
    comment="What the daemon did and when.",
)

backfill_windows = Table(
    "backfill_windows",
    metadata,
    _connection(),
    _key("stream", "executions."),
    _key("partition", "The partition."),
    Column("since", Instant, primary_key=True, comment="Start of the span, inclusive."),
    Column("until", Instant, primary_key=True, comment="End of the span, exclusive."),
    _text("kind", "initial: the history found at first; backfill: asked for by a person.", nullable=False),
    _time("position", "Everything in the span before this instant is copied and proved.", nullable=False),
    _text("state", "open or done.", nullable=False),
    _time("created_at", "When it was asked for.", nullable=False),
    _time("finished_at", "When it was done."),
    schema=DAEMON,
    comment="The ledger of history: spans to copy and how far each has come.",
)

window_audit = Table(
    "window_audit",
    metadata,
    Column("audit_id", BigInteger, Identity(), primary_key=True, comment="Number of the entry."),
    _id("connection_id", "The connection.", nullable=False),
    _text("stream", "The stream.", nullable=False),
    _id("partition", "The partition.", nullable=False),
    _time("window_start", "Start of the window.", nullable=False),
    _time("window_end", "End of the window.", nullable=False),
    Column("told_total", BigInteger, comment="The total the source told; null where it told none."),
    Column("read_ids", BigInteger, comment="Distinct ids read, rejects included."),
    _text("verdict", "disputed, unproved, lost or differs.", nullable=False),
    _time("first_seen_at", "When it was first found.", nullable=False),
    _time("last_seen_at", "When it was last found.", nullable=False),
    _time("resolved_at", "When a later read proved the window; null while it stands."),
    _time("read_again_at", "When it was last read again because of this; null if it was not."),
    schema=DAEMON,
    comment="Windows whose reading does not agree with what the source told, and spans that were lost.",
)

quarantine = Table(
    "quarantine",
    metadata,
    _connection(),
    _key("stream", "The stream the record came from."),
    Column("record_id", Text, primary_key=True, comment="Digest of the record as sent."),
    _id("partition", "Partition or execution it came from.", nullable=False),
    _text("identity", "The record's own id where it could be read."),
    _text("reason", "Why it was put aside.", nullable=False),
    Column(
        "raw", LargeBinary, comment="The record as sent, redacted; null where that could not be done safely."
    ),
    _time("first_seen_at", "When it was first met.", nullable=False),
    _time("last_seen_at", "When it was last met.", nullable=False),
    _count("times", "How often it was met.", nullable=False),
    _time("resolved_at", "When a good copy landed; null while it is open."),
    schema=DAEMON,
    comment="Records put aside because they have no usable identity.",
)

rate_limits = Table(
    "rate_limits",
    metadata,
    _connection(),
    _time("not_before", "No request may be made before this instant (database clock)."),
    _text("reason", "What the source said."),
    _time("updated_at", "When it was said.", nullable=False),
    Column("limit_requests", BigInteger, comment="Requests that the source allows in limit_seconds."),
    Column("limit_seconds", Double, comment="Seconds in which limit_requests may be made."),
    _json("spending", "Requests made lately by purpose, as far as they count against the limit."),
    schema=DAEMON,
    comment="What the sources said about limits and waiting; kept over restarts, shared by all processes.",
)

grants = Table(
    "grants",
    metadata,
    Column("role", Text, primary_key=True, comment="The database role."),
    Column("payloads", Boolean, nullable=False, comment="Whether it may read step_io."),
    _time("granted_at", "When it was granted.", nullable=False),
    schema=DAEMON,
    comment="Roles given read access, given again after every migration.",
)

Index("executions_day_idx", executions.c.connection_id, text(_UTC_DAY))
Index("executions_created_idx", executions.c.connection_id, executions.c.created_at)
Index("executions_synced_idx", executions.c.connection_id, executions.c.synced_at)
Index(
    "executions_partition_idx",
    executions.c.connection_id,
    executions.c["_partition"],
    executions.c.created_at,
)
Index(
    "executions_workflow_idx",
    executions.c.connection_id,
    executions.c.workflow_id,
    executions.c.created_at,
)
Index(
    "executions_open_idx",
    executions.c.connection_id,
    executions.c["_partition"],
    executions.c.created_at,
    postgresql_where=text("settled_at IS NULL AND missing_since IS NULL"),
)
Index(
    "executions_steps_due_idx",
    executions.c.connection_id,
    executions.c.created_at,
    postgresql_where=text("steps_state IN ('due', 'failed')"),
)
Index(
    "executions_failure_idx",
    executions.c.connection_id,
    executions.c.failure_reason,
    executions.c.workflow_id,
    executions.c.created_at,
    postgresql_where=text("failure_reason IS NOT NULL"),
)
# Steps do not know their workflow: this tells it of all that failed, without a look at the executions themselves.
Index(
    "executions_failed_steps_idx",
    executions.c.connection_id,
    executions.c.execution_id,
    postgresql_include=["workflow_id", "created_at"],
    postgresql_where=text("failed_step_count > 0"),
)
Index(
    "steps_failure_idx",
    steps.c.connection_id,
    steps.c.failure_reason,
    steps.c.execution_id,
    postgresql_where=text("failure_reason IS NOT NULL"),
)
Index("window_audit_open_idx", window_audit.c.connection_id, postgresql_where=text("resolved_at IS NULL"))

HISTORY_TABLES = tuple(table for table in metadata.sorted_tables if table.schema == HISTORY)
