DO $$ BEGIN
  IF to_regnamespace('history') IS NULL THEN CREATE SCHEMA history; END IF;
  IF to_regnamespace('syncer') IS NULL THEN CREATE SCHEMA syncer; END IF;
END $$;
COMMENT ON SCHEMA history IS 'Execution history of workflow platforms, for people and BI tools.';
COMMENT ON SCHEMA syncer IS 'The daemon''s own notes.';
CREATE TABLE history.connections (
	connection_id TEXT COLLATE "C" NOT NULL,
	platform TEXT NOT NULL,
	base_url TEXT NOT NULL,
	first_synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	extra JSONB,
	CONSTRAINT connections_pkey PRIMARY KEY (connection_id)
);
COMMENT ON TABLE history.connections IS 'Configured tenants whose history is copied here.';
COMMENT ON COLUMN history.connections.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.connections.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.connections.base_url IS 'Address of the platform''s API.';
COMMENT ON COLUMN history.connections.first_synced_at IS 'When the first sync of this connection began.';
COMMENT ON COLUMN history.connections.extra IS 'Facts that hold for the whole connection, such as the customer''s id.';
CREATE TABLE history.executions (
	connection_id TEXT COLLATE "C" NOT NULL,
	execution_id TEXT COLLATE "C" NOT NULL,
	workflow_id TEXT COLLATE "C" NOT NULL,
	workflow_name TEXT,
	status TEXT,
	outcome TEXT NOT NULL,
	execution_type TEXT,
	trigger TEXT,
	subject_id TEXT COLLATE "C",
	parent_execution_id TEXT COLLATE "C",
	linked_execution_ids TEXT[] COLLATE "C",
	message TEXT,
	failure_reason TEXT,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	updated_at TIMESTAMP WITH TIME ZONE,
	duration_ms BIGINT GENERATED ALWAYS AS ((EXTRACT(epoch FROM (ended_at - started_at)) * 1000)::bigint) STORED,
	variables JSONB,
	categories JSONB,
	tags TEXT[],
	step_count INTEGER,
	failed_step_count INTEGER,
	steps_state TEXT NOT NULL,
	steps_read_at TIMESTAMP WITH TIME ZONE,
	extra JSONB,
	settled_at TIMESTAMP WITH TIME ZONE,
	missing_since TIMESTAMP WITH TIME ZONE,
	missing_reason TEXT,
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	_asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_partition TEXT COLLATE "C" NOT NULL,
	_ended_at TIMESTAMP WITH TIME ZONE,
	_final_at TIMESTAMP WITH TIME ZONE,
	_steps_tries INTEGER DEFAULT 0 NOT NULL,
	_steps_retry_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT executions_pkey PRIMARY KEY (connection_id, execution_id)
);
COMMENT ON TABLE history.executions IS 'One row per execution (run) of a workflow.';
COMMENT ON COLUMN history.executions.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.executions.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.executions.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.executions.workflow_name IS 'Name of the workflow as the execution itself carries it; see execution_facts.';
COMMENT ON COLUMN history.executions.status IS 'The source''s own word for its state.';
COMMENT ON COLUMN history.executions.outcome IS 'queued, running, succeeded, failed, canceled or unknown.';
COMMENT ON COLUMN history.executions.execution_type IS 'The source''s own word for the kind of execution.';
COMMENT ON COLUMN history.executions.trigger IS 'What started it, in the source''s own word.';
COMMENT ON COLUMN history.executions.subject_id IS 'Id of the object it ran for.';
COMMENT ON COLUMN history.executions.parent_execution_id IS 'Id of the execution that started this one.';
COMMENT ON COLUMN history.executions.linked_execution_ids IS 'Ids of executions linked to this one.';
COMMENT ON COLUMN history.executions.message IS 'The source''s message, usually the reason of a failure.';
COMMENT ON COLUMN history.executions.failure_reason IS 'Fingerprint of the message of a failed execution: ids, numbers and names taken out.';
COMMENT ON COLUMN history.executions.created_at IS 'When it was created at the source: the time its lists filter by.';
COMMENT ON COLUMN history.executions.started_at IS 'When it started.';
COMMENT ON COLUMN history.executions.ended_at IS 'When it ended; null while it runs.';
COMMENT ON COLUMN history.executions.updated_at IS 'When the source last changed it.';
COMMENT ON COLUMN history.executions.duration_ms IS 'Milliseconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.executions.variables IS 'Variables it ran with; null where they are not copied.';
COMMENT ON COLUMN history.executions.categories IS 'Categories as sent.';
COMMENT ON COLUMN history.executions.tags IS 'Tags as sent.';
COMMENT ON COLUMN history.executions.step_count IS 'Number of step attempts; null until its steps are read.';
COMMENT ON COLUMN history.executions.failed_step_count IS 'Number of failed step attempts; null until its steps are read.';
COMMENT ON COLUMN history.executions.steps_state IS 'due, read, gone, failed or off: whether its steps are copied.';
COMMENT ON COLUMN history.executions.steps_read_at IS 'When its steps were last read (database clock).';
COMMENT ON COLUMN history.executions.extra IS 'Fields of the source without a column of their own, as sent; _repaired names columns whose text was mended.';
COMMENT ON COLUMN history.executions.settled_at IS 'When the copy became final; null while it may still change.';
COMMENT ON COLUMN history.executions.missing_since IS 'When the source was first found not to have it any more; null while it has.';
COMMENT ON COLUMN history.executions.missing_reason IS 'Why it is missing at the source: gone, workflow_deleted or aged_out.';
COMMENT ON COLUMN history.executions.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.executions._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
COMMENT ON COLUMN history.executions._asked_at IS 'When the request for this copy was sent (database clock); an older copy never overwrites it.';
COMMENT ON COLUMN history.executions._partition IS 'What the watermark covering this row belongs to.';
COMMENT ON COLUMN history.executions._ended_at IS 'End as known to the daemon, in the source''s time; null while open.';
COMMENT ON COLUMN history.executions._final_at IS 'When its row was read at end + settle or later; null before.';
COMMENT ON COLUMN history.executions._steps_tries IS 'Failed attempts to read its steps.';
COMMENT ON COLUMN history.executions._steps_retry_at IS 'When its steps are tried again after failures.';
CREATE INDEX executions_day_idx ON history.executions (connection_id, ((created_at AT TIME ZONE 'UTC')::date));
CREATE INDEX executions_failure_idx ON history.executions (connection_id, failure_reason, workflow_id, created_at) WHERE failure_reason IS NOT NULL;
CREATE INDEX executions_open_idx ON history.executions (connection_id, _partition, created_at) WHERE settled_at IS NULL AND missing_since IS NULL;
CREATE INDEX executions_partition_idx ON history.executions (connection_id, _partition, created_at);
CREATE INDEX executions_steps_due_idx ON history.executions (connection_id, created_at) WHERE steps_state IN ('due', 'failed');
CREATE INDEX executions_synced_idx ON history.executions (connection_id, synced_at);
CREATE INDEX executions_workflow_idx ON history.executions (connection_id, workflow_id, created_at);
CREATE TABLE history.step_events (
	connection_id TEXT COLLATE "C" NOT NULL,
	execution_id TEXT COLLATE "C" NOT NULL,
	event_id TEXT COLLATE "C" NOT NULL,
	node_id TEXT COLLATE "C" NOT NULL,
	node_type TEXT,
	event_order BIGINT,
	status TEXT,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	updated_at TIMESTAMP WITH TIME ZONE,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	message TEXT,
	details JSONB,
	tags TEXT[],
	extra JSONB,
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	_outcome TEXT NOT NULL,
	_role TEXT NOT NULL,
	_node_name TEXT,
	CONSTRAINT step_events_pkey PRIMARY KEY (connection_id, execution_id, event_id)
);
COMMENT ON TABLE history.step_events IS 'What the source sent about steps, event by event; steps holds them folded.';
COMMENT ON COLUMN history.step_events.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.step_events.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.step_events.event_id IS 'The event''s id, or a stable stand-in where the source gives none.';
COMMENT ON COLUMN history.step_events.node_id IS 'Id of the node the event belongs to.';
COMMENT ON COLUMN history.step_events.node_type IS 'The source''s own word for the kind of node.';
COMMENT ON COLUMN history.step_events.event_order IS 'The source''s order of events within a node.';
COMMENT ON COLUMN history.step_events.status IS 'The source''s own word for the state the event reports.';
COMMENT ON COLUMN history.step_events.created_at IS 'When the event was recorded at the source.';
COMMENT ON COLUMN history.step_events.updated_at IS 'When the source last changed the event.';
COMMENT ON COLUMN history.step_events.started_at IS 'When the step started.';
COMMENT ON COLUMN history.step_events.ended_at IS 'When the step ended; null while it runs.';
COMMENT ON COLUMN history.step_events.message IS 'The event''s message.';
COMMENT ON COLUMN history.step_events.details IS 'The event''s details, as sent.';
COMMENT ON COLUMN history.step_events.tags IS 'Tags as sent; null when they are the execution''s.';
COMMENT ON COLUMN history.step_events.extra IS 'Fields of the source without a column of their own, as sent; _repaired names columns whose text was mended.';
COMMENT ON COLUMN history.step_events.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.step_events._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
COMMENT ON COLUMN history.step_events._outcome IS 'The event''s status in the vocabulary of outcome.';
COMMENT ON COLUMN history.step_events._role IS 'begin, end or note: what the event does when events are folded into steps.';
COMMENT ON COLUMN history.step_events._node_name IS 'Name of the node where the event itself carries one.';
CREATE TABLE history.step_io (
	connection_id TEXT COLLATE "C" NOT NULL,
	execution_id TEXT COLLATE "C" NOT NULL,
	node_id TEXT COLLATE "C" NOT NULL,
	attempt INTEGER NOT NULL,
	input JSONB,
	output JSONB,
	input_state TEXT NOT NULL,
	output_state TEXT NOT NULL,
	input_bytes BIGINT,
	output_bytes BIGINT,
	input_raw BYTEA,
	output_raw BYTEA,
	redacted_paths TEXT[],
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	CONSTRAINT step_io_pkey PRIMARY KEY (connection_id, execution_id, node_id, attempt)
);
COMMENT ON TABLE history.step_io IS 'Input and output of each step attempt. May hold sensitive data; no view reads it.';
COMMENT ON COLUMN history.step_io.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.step_io.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.step_io.node_id IS 'Id of the node.';
COMMENT ON COLUMN history.step_io.attempt IS 'Attempt of the node, from 1.';
COMMENT ON COLUMN history.step_io.input IS 'The step''s input, decoded.';
COMMENT ON COLUMN history.step_io.output IS 'The step''s output, decoded.';
COMMENT ON COLUMN history.step_io.input_state IS 'decoded, text, absent, unsafe, undecodable or too_large.';
COMMENT ON COLUMN history.step_io.output_state IS 'decoded, text, absent, unsafe, undecodable or too_large.';
COMMENT ON COLUMN history.step_io.input_bytes IS 'Size of the decoded input in bytes; null when not known.';
COMMENT ON COLUMN history.step_io.output_bytes IS 'Size of the decoded output in bytes; null when not known.';
COMMENT ON COLUMN history.step_io.input_raw IS 'The input as it came, where it could not be stored as it is.';
COMMENT ON COLUMN history.step_io.output_raw IS 'The output as it came, where it could not be stored as it is.';
COMMENT ON COLUMN history.step_io.redacted_paths IS 'JSON Pointers of redacted values, beginning with /input or /output.';
COMMENT ON COLUMN history.step_io.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.step_io._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
CREATE TABLE history.steps (
	connection_id TEXT COLLATE "C" NOT NULL,
	execution_id TEXT COLLATE "C" NOT NULL,
	node_id TEXT COLLATE "C" NOT NULL,
	attempt INTEGER NOT NULL,
	node_name TEXT,
	node_type TEXT,
	position INTEGER,
	status TEXT,
	outcome TEXT NOT NULL,
	message TEXT,
	failure_reason TEXT,
	started_at TIMESTAMP WITH TIME ZONE,
	ended_at TIMESTAMP WITH TIME ZONE,
	duration_ms BIGINT GENERATED ALWAYS AS ((EXTRACT(epoch FROM (ended_at - started_at)) * 1000)::bigint) STORED,
	event_count INTEGER NOT NULL,
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	CONSTRAINT steps_pkey PRIMARY KEY (connection_id, execution_id, node_id, attempt)
);
COMMENT ON TABLE history.steps IS 'One row per attempt of a node within an execution, folded from step_events.';
COMMENT ON COLUMN history.steps.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.steps.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.steps.node_id IS 'Id of the node.';
COMMENT ON COLUMN history.steps.attempt IS 'Attempt of the node, from 1.';
COMMENT ON COLUMN history.steps.node_name IS 'Name of the node as known when first written.';
COMMENT ON COLUMN history.steps.node_type IS 'The source''s own word for the kind of node.';
COMMENT ON COLUMN history.steps.position IS 'Rank of the node''s first event within the execution, from 1.';
COMMENT ON COLUMN history.steps.status IS 'The source''s own word for the last state.';
COMMENT ON COLUMN history.steps.outcome IS 'queued, running, succeeded, failed, canceled or unknown.';
COMMENT ON COLUMN history.steps.message IS 'Message of the attempt''s last event.';
COMMENT ON COLUMN history.steps.failure_reason IS 'Fingerprint of the message of a failed step: ids, numbers and names taken out.';
COMMENT ON COLUMN history.steps.started_at IS 'When the attempt started.';
COMMENT ON COLUMN history.steps.ended_at IS 'When the attempt ended; null when never seen to end.';
COMMENT ON COLUMN history.steps.duration_ms IS 'Milliseconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.steps.event_count IS 'Number of events folded into this attempt.';
COMMENT ON COLUMN history.steps.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.steps._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
CREATE INDEX steps_failure_idx ON history.steps (connection_id, failure_reason, execution_id) WHERE failure_reason IS NOT NULL;
CREATE TABLE history.workflow_nodes (
	connection_id TEXT COLLATE "C" NOT NULL,
	workflow_id TEXT COLLATE "C" NOT NULL,
	node_id TEXT COLLATE "C" NOT NULL,
	name TEXT,
	node_type TEXT,
	position INTEGER,
	next_node_ids TEXT[] COLLATE "C",
	script TEXT,
	inputs JSONB,
	removed_at TIMESTAMP WITH TIME ZONE,
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	CONSTRAINT workflow_nodes_pkey PRIMARY KEY (connection_id, workflow_id, node_id)
);
COMMENT ON TABLE history.workflow_nodes IS 'Nodes of every workflow definition, kept when a later definition drops them.';
COMMENT ON COLUMN history.workflow_nodes.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.workflow_nodes.workflow_id IS 'The workflow''s id at the source.';
COMMENT ON COLUMN history.workflow_nodes.node_id IS 'The node''s id within the workflow.';
COMMENT ON COLUMN history.workflow_nodes.name IS 'Name of the node.';
COMMENT ON COLUMN history.workflow_nodes.node_type IS 'The source''s own word for the kind of node.';
COMMENT ON COLUMN history.workflow_nodes.position IS 'Place in the definition, counting from 0.';
COMMENT ON COLUMN history.workflow_nodes.next_node_ids IS 'Ids of the nodes that follow.';
COMMENT ON COLUMN history.workflow_nodes.script IS 'Name of the script or task the node runs.';
COMMENT ON COLUMN history.workflow_nodes.inputs IS 'The node''s configured inputs.';
COMMENT ON COLUMN history.workflow_nodes.removed_at IS 'When a later definition was first seen without this node; null while it is part of it.';
COMMENT ON COLUMN history.workflow_nodes.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.workflow_nodes._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
CREATE TABLE history.workflow_revisions (
	connection_id TEXT COLLATE "C" NOT NULL,
	workflow_id TEXT COLLATE "C" NOT NULL,
	revision TEXT COLLATE "C" NOT NULL,
	definition JSONB,
	first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT workflow_revisions_pkey PRIMARY KEY (connection_id, workflow_id, revision)
);
COMMENT ON TABLE history.workflow_revisions IS 'What each workflow looked like over time.';
COMMENT ON COLUMN history.workflow_revisions.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.workflow_revisions.workflow_id IS 'The workflow''s id at the source.';
COMMENT ON COLUMN history.workflow_revisions.revision IS 'The source''s revision, or a hash of the definition where it names none.';
COMMENT ON COLUMN history.workflow_revisions.definition IS 'The definition of this revision.';
COMMENT ON COLUMN history.workflow_revisions.first_seen_at IS 'When this revision was first read.';
COMMENT ON COLUMN history.workflow_revisions.last_seen_at IS 'When this revision was last written as the current one.';
CREATE TABLE history.workflows (
	connection_id TEXT COLLATE "C" NOT NULL,
	workflow_id TEXT COLLATE "C" NOT NULL,
	name TEXT,
	description TEXT,
	is_active BOOLEAN,
	type TEXT,
	revision TEXT,
	created_by TEXT COLLATE "C",
	created_at TIMESTAMP WITH TIME ZONE,
	updated_at TIMESTAMP WITH TIME ZONE,
	deleted_at TIMESTAMP WITH TIME ZONE,
	last_execution_status TEXT,
	last_execution_ended_at TIMESTAMP WITH TIME ZONE,
	last_execution_message TEXT,
	tags TEXT[],
	definition JSONB,
	properties JSONB,
	extra JSONB,
	missing_since TIMESTAMP WITH TIME ZONE,
	missing_reason TEXT,
	synced_at TIMESTAMP WITH TIME ZONE NOT NULL,
	_row_hash BYTEA NOT NULL,
	_asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT workflows_pkey PRIMARY KEY (connection_id, workflow_id)
);
COMMENT ON TABLE history.workflows IS 'Workflows (playbooks) as the source last showed them; never deleted here.';
COMMENT ON COLUMN history.workflows.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.workflows.workflow_id IS 'The workflow''s id at the source.';
COMMENT ON COLUMN history.workflows.name IS 'Name of the workflow.';
COMMENT ON COLUMN history.workflows.description IS 'Description as its author wrote it.';
COMMENT ON COLUMN history.workflows.is_active IS 'Whether the source runs the workflow when triggered.';
COMMENT ON COLUMN history.workflows.type IS 'The source''s own word for the kind of workflow.';
COMMENT ON COLUMN history.workflows.revision IS 'The source''s version of the definition.';
COMMENT ON COLUMN history.workflows.created_by IS 'Id of the user who created it.';
COMMENT ON COLUMN history.workflows.created_at IS 'When it was created at the source.';
COMMENT ON COLUMN history.workflows.updated_at IS 'When the source last changed it.';
COMMENT ON COLUMN history.workflows.deleted_at IS 'When the source says it was deleted.';
COMMENT ON COLUMN history.workflows.last_execution_status IS 'Status of its latest execution, in the source''s own word.';
COMMENT ON COLUMN history.workflows.last_execution_ended_at IS 'When its latest execution ended.';
COMMENT ON COLUMN history.workflows.last_execution_message IS 'Message of its latest execution.';
COMMENT ON COLUMN history.workflows.tags IS 'Tags as sent.';
COMMENT ON COLUMN history.workflows.definition IS 'The workflow''s definition; workflow_nodes holds it node by node.';
COMMENT ON COLUMN history.workflows.properties IS 'The source''s properties of the workflow, as sent.';
COMMENT ON COLUMN history.workflows.extra IS 'Fields of the source without a column of their own, as sent; _repaired names columns whose text was mended.';
COMMENT ON COLUMN history.workflows.missing_since IS 'When the source was first found not to have it any more; null while it has.';
COMMENT ON COLUMN history.workflows.missing_reason IS 'Why it is missing at the source: workflow_deleted.';
COMMENT ON COLUMN history.workflows.synced_at IS 'When this row was last written (database clock); visible up to a minute later.';
COMMENT ON COLUMN history.workflows._row_hash IS 'Digest of the source''s fields; the daemon writes a row only when it differs.';
COMMENT ON COLUMN history.workflows._asked_at IS 'When the request for this copy was sent (database clock); an older copy never overwrites it.';
CREATE TABLE syncer.backfill_windows (
	connection_id TEXT COLLATE "C" NOT NULL,
	stream TEXT COLLATE "C" NOT NULL,
	partition TEXT COLLATE "C" NOT NULL,
	since TIMESTAMP WITH TIME ZONE NOT NULL,
	until TIMESTAMP WITH TIME ZONE NOT NULL,
	kind TEXT NOT NULL,
	position TIMESTAMP WITH TIME ZONE NOT NULL,
	state TEXT NOT NULL,
	created_at TIMESTAMP WITH TIME ZONE NOT NULL,
	finished_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT backfill_windows_pkey PRIMARY KEY (connection_id, stream, partition, since, until)
);
COMMENT ON TABLE syncer.backfill_windows IS 'The ledger of history: spans to copy and how far each has come.';
COMMENT ON COLUMN syncer.backfill_windows.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN syncer.backfill_windows.stream IS 'executions.';
COMMENT ON COLUMN syncer.backfill_windows.partition IS 'The partition.';
COMMENT ON COLUMN syncer.backfill_windows.since IS 'Start of the span, inclusive.';
COMMENT ON COLUMN syncer.backfill_windows.until IS 'End of the span, exclusive.';
COMMENT ON COLUMN syncer.backfill_windows.kind IS 'initial: the history found at first; backfill: asked for by a person.';
COMMENT ON COLUMN syncer.backfill_windows.position IS 'Everything in the span before this instant is copied and proved.';
COMMENT ON COLUMN syncer.backfill_windows.state IS 'open or done.';
COMMENT ON COLUMN syncer.backfill_windows.created_at IS 'When it was asked for.';
COMMENT ON COLUMN syncer.backfill_windows.finished_at IS 'When it was done.';
CREATE TABLE syncer.grants (
	role TEXT NOT NULL,
	payloads BOOLEAN NOT NULL,
	granted_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT grants_pkey PRIMARY KEY (role)
);
COMMENT ON TABLE syncer.grants IS 'Roles given read access, given again after every migration.';
COMMENT ON COLUMN syncer.grants.role IS 'The database role.';
COMMENT ON COLUMN syncer.grants.payloads IS 'Whether it may read step_io.';
COMMENT ON COLUMN syncer.grants.granted_at IS 'When it was granted.';
CREATE TABLE syncer.leases (
	connection_id TEXT COLLATE "C" NOT NULL,
	stream TEXT COLLATE "C" NOT NULL,
	partition TEXT COLLATE "C" NOT NULL,
	lane TEXT COLLATE "C" NOT NULL,
	owner TEXT,
	until TIMESTAMP WITH TIME ZONE,
	version BIGINT NOT NULL,
	CONSTRAINT leases_pkey PRIMARY KEY (connection_id, stream, partition, lane)
);
COMMENT ON TABLE syncer.leases IS 'Who works on what; one writer per partition and lane.';
COMMENT ON COLUMN syncer.leases.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN syncer.leases.stream IS 'workflows, executions or steps.';
COMMENT ON COLUMN syncer.leases.partition IS 'The partition, '''' for a whole connection.';
COMMENT ON COLUMN syncer.leases.lane IS 'live, open or history.';
COMMENT ON COLUMN syncer.leases.owner IS 'Host, process and start of the holder.';
COMMENT ON COLUMN syncer.leases.until IS 'When the lease ends unless renewed (database clock).';
COMMENT ON COLUMN syncer.leases.version IS 'Grows with every change of holder; commits compare it.';
CREATE TABLE syncer.quarantine (
	connection_id TEXT COLLATE "C" NOT NULL,
	stream TEXT COLLATE "C" NOT NULL,
	record_id TEXT NOT NULL,
	partition TEXT COLLATE "C" NOT NULL,
	identity TEXT,
	reason TEXT NOT NULL,
	raw BYTEA,
	first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	times INTEGER NOT NULL,
	resolved_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT quarantine_pkey PRIMARY KEY (connection_id, stream, record_id)
);
COMMENT ON TABLE syncer.quarantine IS 'Records put aside because they have no usable identity.';
COMMENT ON COLUMN syncer.quarantine.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN syncer.quarantine.stream IS 'The stream the record came from.';
COMMENT ON COLUMN syncer.quarantine.record_id IS 'Digest of the record as sent.';
COMMENT ON COLUMN syncer.quarantine.partition IS 'Partition or execution it came from.';
COMMENT ON COLUMN syncer.quarantine.identity IS 'The record''s own id where it could be read.';
COMMENT ON COLUMN syncer.quarantine.reason IS 'Why it was put aside.';
COMMENT ON COLUMN syncer.quarantine.raw IS 'The record as sent, redacted; null where that could not be done safely.';
COMMENT ON COLUMN syncer.quarantine.first_seen_at IS 'When it was first met.';
COMMENT ON COLUMN syncer.quarantine.last_seen_at IS 'When it was last met.';
COMMENT ON COLUMN syncer.quarantine.times IS 'How often it was met.';
COMMENT ON COLUMN syncer.quarantine.resolved_at IS 'When a good copy landed; null while it is open.';
CREATE TABLE syncer.rate_limits (
	connection_id TEXT COLLATE "C" NOT NULL,
	not_before TIMESTAMP WITH TIME ZONE,
	reason TEXT,
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
	CONSTRAINT rate_limits_pkey PRIMARY KEY (connection_id)
);
COMMENT ON TABLE syncer.rate_limits IS 'What the sources said about waiting; kept over restarts, shared by all processes.';
COMMENT ON COLUMN syncer.rate_limits.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN syncer.rate_limits.not_before IS 'No request may be made before this instant (database clock).';
COMMENT ON COLUMN syncer.rate_limits.reason IS 'What the source said.';
COMMENT ON COLUMN syncer.rate_limits.updated_at IS 'When it was said.';
CREATE TABLE syncer.runs (
	run_id TEXT NOT NULL,
	command TEXT NOT NULL,
	connection_id TEXT,
	owner TEXT,
	started_at TIMESTAMP WITH TIME ZONE NOT NULL,
	ended_at TIMESTAMP WITH TIME ZONE,
	state TEXT NOT NULL,
	counts JSONB,
	error TEXT,
	CONSTRAINT runs_pkey PRIMARY KEY (run_id)
);
COMMENT ON TABLE syncer.runs IS 'What the daemon did and when.';
COMMENT ON COLUMN syncer.runs.run_id IS 'Id of the run, also in the log.';
COMMENT ON COLUMN syncer.runs.command IS 'sync, backfill, run or demo.';
COMMENT ON COLUMN syncer.runs.connection_id IS 'The connection worked on.';
COMMENT ON COLUMN syncer.runs.owner IS 'Host and process.';
COMMENT ON COLUMN syncer.runs.started_at IS 'When it began.';
COMMENT ON COLUMN syncer.runs.ended_at IS 'When it ended; null while it works or after a crash.';
COMMENT ON COLUMN syncer.runs.state IS 'running, done, partial, failed or stopped.';
COMMENT ON COLUMN syncer.runs.counts IS 'Requests by endpoint and rows by table.';
COMMENT ON COLUMN syncer.runs.error IS 'What went wrong, when something did.';
CREATE TABLE syncer.watermarks (
	connection_id TEXT COLLATE "C" NOT NULL,
	stream TEXT COLLATE "C" NOT NULL,
	partition TEXT COLLATE "C" NOT NULL,
	watermark_at TIMESTAMP WITH TIME ZONE,
	complete_from TIMESTAMP WITH TIME ZONE,
	lookback_from TIMESTAMP WITH TIME ZONE,
	hint TEXT,
	swept_at TIMESTAMP WITH TIME ZONE,
	last_success_at TIMESTAMP WITH TIME ZONE,
	last_error TEXT,
	last_error_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT watermarks_pkey PRIMARY KEY (connection_id, stream, partition)
);
COMMENT ON TABLE syncer.watermarks IS 'How far each partition has been copied.';
COMMENT ON COLUMN syncer.watermarks.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN syncer.watermarks.stream IS 'workflows or executions.';
COMMENT ON COLUMN syncer.watermarks.partition IS 'What the watermark belongs to: a workflow, or a workspace; '''' for a whole connection.';
COMMENT ON COLUMN syncer.watermarks.watermark_at IS 'Everything created before this instant has been read and proved.';
COMMENT ON COLUMN syncer.watermarks.complete_from IS 'Start of the unbroken, proved span that ends at the watermark.';
COMMENT ON COLUMN syncer.watermarks.lookback_from IS 'The watermark less the lookback: rows made visible late may still appear after it.';
COMMENT ON COLUMN syncer.watermarks.hint IS 'The source''s sign of change at the last completed read.';
COMMENT ON COLUMN syncer.watermarks.swept_at IS 'When the partition was last read regardless of hints.';
COMMENT ON COLUMN syncer.watermarks.last_success_at IS 'When a pass over this partition last succeeded.';
COMMENT ON COLUMN syncer.watermarks.last_error IS 'What went wrong last; null after a success.';
COMMENT ON COLUMN syncer.watermarks.last_error_at IS 'When it went wrong.';
CREATE TABLE syncer.window_audit (
	audit_id BIGINT GENERATED BY DEFAULT AS IDENTITY,
	connection_id TEXT COLLATE "C" NOT NULL,
	stream TEXT NOT NULL,
	partition TEXT COLLATE "C" NOT NULL,
	window_start TIMESTAMP WITH TIME ZONE NOT NULL,
	window_end TIMESTAMP WITH TIME ZONE NOT NULL,
	told_total BIGINT,
	read_ids BIGINT,
	verdict TEXT NOT NULL,
	first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
	resolved_at TIMESTAMP WITH TIME ZONE,
	CONSTRAINT window_audit_pkey PRIMARY KEY (audit_id)
);
COMMENT ON TABLE syncer.window_audit IS 'Windows whose reading does not agree with what the source told, and spans that were lost.';
COMMENT ON COLUMN syncer.window_audit.audit_id IS 'Number of the entry.';
COMMENT ON COLUMN syncer.window_audit.connection_id IS 'The connection.';
COMMENT ON COLUMN syncer.window_audit.stream IS 'The stream.';
COMMENT ON COLUMN syncer.window_audit.partition IS 'The partition.';
COMMENT ON COLUMN syncer.window_audit.window_start IS 'Start of the window.';
COMMENT ON COLUMN syncer.window_audit.window_end IS 'End of the window.';
COMMENT ON COLUMN syncer.window_audit.told_total IS 'The total the source told; null where it told none.';
COMMENT ON COLUMN syncer.window_audit.read_ids IS 'Distinct ids read, rejects included.';
COMMENT ON COLUMN syncer.window_audit.verdict IS 'disputed, unproved or lost.';
COMMENT ON COLUMN syncer.window_audit.first_seen_at IS 'When it was first found.';
COMMENT ON COLUMN syncer.window_audit.last_seen_at IS 'When it was last found.';
COMMENT ON COLUMN syncer.window_audit.resolved_at IS 'When a later read proved the window; null while it stands.';
CREATE INDEX window_audit_open_idx ON syncer.window_audit (connection_id) WHERE resolved_at IS NULL;
ALTER TABLE history.step_events ALTER COLUMN execution_id SET (n_distinct = -0.1);
ALTER TABLE history.steps ALTER COLUMN execution_id SET (n_distinct = -0.1);
ALTER TABLE history.step_io ALTER COLUMN execution_id SET (n_distinct = -0.1);
CREATE OR REPLACE VIEW history.execution_facts AS
SELECT
  e.connection_id,
  c.platform,
  e.execution_id,
  e.workflow_id,
  COALESCE(w.name, e.workflow_name, e.workflow_id) AS workflow_name,
  e.status,
  e.outcome,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date AS day,
  date_trunc('hour', e.created_at, 'UTC') AS hour,
  e.started_at,
  e.ended_at,
  e.updated_at,
  e.duration_ms,
  e.duration_ms / 1000.0::double precision AS duration_s,
  e.execution_type,
  e.trigger,
  e.subject_id,
  e.parent_execution_id,
  e.linked_execution_ids,
  e.message,
  e.failure_reason,
  e.variables,
  e.categories,
  e.tags,
  e.step_count,
  e.failed_step_count,
  e.steps_state,
  e.steps_read_at,
  e.extra,
  e.settled_at,
  e.missing_since,
  e.missing_reason,
  e.synced_at
FROM history.executions e
LEFT JOIN history.connections c ON c.connection_id = e.connection_id
LEFT JOIN history.workflows w ON w.connection_id = e.connection_id AND w.workflow_id = e.workflow_id;

COMMENT ON VIEW history.execution_facts IS 'One row per execution with the names and time buckets that charts group by. Filter by connection_id and day: they are indexed together.';
COMMENT ON COLUMN history.execution_facts.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.execution_facts.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.execution_facts.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.execution_facts.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.execution_facts.workflow_name IS 'Name of the workflow as known today, else as the execution carried it, else the workflow''s id.';
COMMENT ON COLUMN history.execution_facts.status IS 'The source''s own word for its state.';
COMMENT ON COLUMN history.execution_facts.outcome IS 'queued, running, succeeded, failed, canceled or unknown.';
COMMENT ON COLUMN history.execution_facts.created_at IS 'When it was created at the source.';
COMMENT ON COLUMN history.execution_facts.day IS 'UTC day of created_at.';
COMMENT ON COLUMN history.execution_facts.hour IS 'Start of the UTC hour of created_at.';
COMMENT ON COLUMN history.execution_facts.started_at IS 'When it started.';
COMMENT ON COLUMN history.execution_facts.ended_at IS 'When it ended; null while it runs.';
COMMENT ON COLUMN history.execution_facts.updated_at IS 'When the source last changed it.';
COMMENT ON COLUMN history.execution_facts.duration_ms IS 'Milliseconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.execution_facts.duration_s IS 'Seconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.execution_facts.execution_type IS 'The source''s own word for the kind of execution.';
COMMENT ON COLUMN history.execution_facts.trigger IS 'What started it, in the source''s own word.';
COMMENT ON COLUMN history.execution_facts.subject_id IS 'Id of the object it ran for.';
COMMENT ON COLUMN history.execution_facts.parent_execution_id IS 'Id of the execution that started this one.';
COMMENT ON COLUMN history.execution_facts.linked_execution_ids IS 'Ids of executions linked to this one.';
COMMENT ON COLUMN history.execution_facts.message IS 'The source''s message, usually the reason of a failure.';
COMMENT ON COLUMN history.execution_facts.failure_reason IS 'Fingerprint of the message of a failed execution: ids, numbers and names taken out.';
COMMENT ON COLUMN history.execution_facts.variables IS 'Variables it ran with; null where they are not copied. execution_labels has them one by one.';
COMMENT ON COLUMN history.execution_facts.categories IS 'Categories as sent. execution_labels has them one by one.';
COMMENT ON COLUMN history.execution_facts.tags IS 'Tags as sent. execution_labels has them one by one.';
COMMENT ON COLUMN history.execution_facts.step_count IS 'Number of step attempts; null until its steps are read.';
COMMENT ON COLUMN history.execution_facts.failed_step_count IS 'Number of failed step attempts; null until its steps are read.';
COMMENT ON COLUMN history.execution_facts.steps_state IS 'due, read, gone, failed or off: whether its steps are copied.';
COMMENT ON COLUMN history.execution_facts.steps_read_at IS 'When its steps were last read (database clock).';
COMMENT ON COLUMN history.execution_facts.extra IS 'Fields of the source without a column of their own, as sent.';
COMMENT ON COLUMN history.execution_facts.settled_at IS 'When the copy became final; null while it may still change.';
COMMENT ON COLUMN history.execution_facts.missing_since IS 'When the source was first found not to have it any more; null while it has.';
COMMENT ON COLUMN history.execution_facts.missing_reason IS 'Why it is missing at the source: gone, workflow_deleted or aged_out.';
COMMENT ON COLUMN history.execution_facts.synced_at IS 'When the execution''s row was last written (database clock); visible up to a minute later.';
-- Labels come in several shapes: {"region": ["eu", null]}, ["region=eu"], [{"key": "region", "value": "eu"}].
-- `strict $.**` reaches the scalars at any depth once each; the lax form would return those in arrays twice.
-- unnest(ARRAY(SELECT DISTINCT ...)) lets the planner expect 10 rows instead of 1,000 and remember them by value.
CREATE OR REPLACE VIEW history.execution_labels AS
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'category' AS kind,
  field.key,
  label AS value,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date AS day
FROM history.executions e
CROSS JOIN jsonb_each(CASE jsonb_typeof(e.categories) WHEN 'object' THEN e.categories END) AS field
CROSS JOIN unnest(
  ARRAY(
    SELECT DISTINCT scalar #>> '{}'
    FROM jsonb_path_query(
      field.value,
      'strict $.** ? (@.type() == "number" || @.type() == "boolean" || @.type() == "string" && @ != "")'
    ) AS scalar
  )
) AS label
UNION ALL
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'variable',
  field.key,
  label,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date
FROM history.executions e
CROSS JOIN LATERAL (
  SELECT key, value
  FROM jsonb_each(CASE jsonb_typeof(e.variables) WHEN 'object' THEN e.variables END)
  UNION
  SELECT
    CASE
      WHEN jsonb_typeof(item) = 'object' THEN COALESCE(item ->> 'key', item ->> 'name', '')
      WHEN strpos(item #>> '{}', '=') > 0 THEN split_part(item #>> '{}', '=', 1)
      ELSE ''
    END,
    CASE jsonb_typeof(item)
      WHEN 'object' THEN item -> 'value'
      WHEN 'string' THEN to_jsonb(substr(item #>> '{}', strpos(item #>> '{}', '=') + 1))
      ELSE item
    END
  FROM jsonb_array_elements(CASE jsonb_typeof(e.variables) WHEN 'array' THEN e.variables END) AS item
) AS field
CROSS JOIN unnest(
  ARRAY(
    SELECT DISTINCT scalar #>> '{}'
    FROM jsonb_path_query(
      field.value,
      'strict $.** ? (@.type() == "number" || @.type() == "boolean" || @.type() == "string" && @ != "")'
    ) AS scalar
  )
) AS label
WHERE e.variables IS NOT NULL
UNION ALL
SELECT
  e.connection_id,
  e.execution_id,
  e.workflow_id,
  'tag',
  CASE WHEN strpos(label, '=') > 0 THEN split_part(label, '=', 1) ELSE '' END,
  substr(label, strpos(label, '=') + 1),
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date
FROM history.executions e
CROSS JOIN unnest(ARRAY(SELECT DISTINCT tag FROM unnest(e.tags) AS tag WHERE tag <> '')) AS label;

COMMENT ON VIEW history.execution_labels IS 'One row per category, variable and tag of an execution; null and empty ones give none, repeated ones give one.';
COMMENT ON COLUMN history.execution_labels.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.execution_labels.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.execution_labels.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.execution_labels.kind IS 'category, variable or tag.';
COMMENT ON COLUMN history.execution_labels.key IS 'Name of the category or variable, or what stands before the first "=" of a tag; '''' for a tag without "=".';
COMMENT ON COLUMN history.execution_labels.value IS 'The value as text; a list gives one row per value.';
COMMENT ON COLUMN history.execution_labels.created_at IS 'When the execution was created at the source.';
COMMENT ON COLUMN history.execution_labels.day IS 'UTC day of created_at.';
-- For both levels "seen" is the creation of the execution, so that the two can be put in one chart. The aggregates
-- need nothing but the partial indexes on failures; the example is looked up once per group.
CREATE OR REPLACE VIEW history.failure_reasons AS
SELECT
  f.connection_id,
  c.platform,
  f.level,
  f.failure_reason,
  f.workflow_id,
  COALESCE(w.name, f.workflow_name, f.workflow_id) AS workflow_name,
  f.count,
  f.first_seen_at,
  f.last_seen_at,
  f.example_execution_id,
  f.example_message
FROM (
  SELECT
    g.connection_id,
    'execution' AS level,
    g.failure_reason,
    g.workflow_id,
    example.workflow_name,
    g.count,
    g.first_seen_at,
    g.last_seen_at,
    example.execution_id AS example_execution_id,
    example.message AS example_message
  FROM (
    SELECT
      connection_id,
      failure_reason,
      workflow_id,
      count(*) AS count,
      min(created_at) AS first_seen_at,
      max(created_at) AS last_seen_at
    FROM history.executions
    WHERE failure_reason IS NOT NULL
    GROUP BY connection_id, failure_reason, workflow_id
  ) AS g
  CROSS JOIN LATERAL (
    SELECT e.execution_id, e.workflow_name, e.message
    FROM history.executions e
    WHERE e.connection_id = g.connection_id
      AND e.failure_reason = g.failure_reason
      AND e.workflow_id = g.workflow_id
      AND e.created_at = g.last_seen_at
    ORDER BY e.execution_id
    LIMIT 1
  ) AS example
  UNION ALL
  SELECT
    g.connection_id,
    'step',
    g.failure_reason,
    g.workflow_id,
    g.workflow_name,
    g.count,
    g.first_seen_at,
    g.last_seen_at,
    g.execution_id,
    example.message
  FROM (
    SELECT
      s.connection_id,
      s.failure_reason,
      e.workflow_id,
      max(e.workflow_name) AS workflow_name,
      count(*) AS count,
      min(e.created_at) AS first_seen_at,
      max(e.created_at) AS last_seen_at,
      (array_agg(s.execution_id ORDER BY e.created_at DESC, s.execution_id))[1] AS execution_id
    FROM history.steps s
    JOIN history.executions e ON e.connection_id = s.connection_id AND e.execution_id = s.execution_id
    WHERE s.failure_reason IS NOT NULL
    GROUP BY s.connection_id, s.failure_reason, e.workflow_id
  ) AS g
  CROSS JOIN LATERAL (
    SELECT s.message
    FROM history.steps s
    WHERE s.connection_id = g.connection_id
      AND s.failure_reason = g.failure_reason
      AND s.execution_id = g.execution_id
    ORDER BY s.node_id, s.attempt
    LIMIT 1
  ) AS example
) AS f
LEFT JOIN history.connections c ON c.connection_id = f.connection_id
LEFT JOIN history.workflows w ON w.connection_id = f.connection_id AND w.workflow_id = f.workflow_id;

COMMENT ON VIEW history.failure_reasons IS 'Why executions and steps failed: one row per level, reason and workflow. A step that fails usually fails its execution: do not add the two levels up.';
COMMENT ON COLUMN history.failure_reasons.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.failure_reasons.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.failure_reasons.level IS 'execution or step: what failed.';
COMMENT ON COLUMN history.failure_reasons.failure_reason IS 'Fingerprint of the message: ids, numbers and names taken out.';
COMMENT ON COLUMN history.failure_reasons.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.failure_reasons.workflow_name IS 'Name of the workflow as known today, else as an execution carried it, else the workflow''s id.';
COMMENT ON COLUMN history.failure_reasons.count IS 'Number of executions, or of step attempts, that failed for this reason.';
COMMENT ON COLUMN history.failure_reasons.first_seen_at IS 'When the first execution concerned was created.';
COMMENT ON COLUMN history.failure_reasons.last_seen_at IS 'When the latest execution concerned was created.';
COMMENT ON COLUMN history.failure_reasons.example_execution_id IS 'Id of the latest execution concerned.';
COMMENT ON COLUMN history.failure_reasons.example_message IS 'Its message in full, ids and numbers included.';
-- settled_at and missing_since are named so that the partial index on open executions serves.
CREATE OR REPLACE VIEW history.running_now AS
SELECT
  e.connection_id,
  c.platform,
  e.execution_id,
  e.workflow_id,
  COALESCE(w.name, e.workflow_name, e.workflow_id) AS workflow_name,
  e.status,
  e.outcome,
  e.created_at,
  e.started_at,
  EXTRACT(epoch FROM now() - COALESCE(e.started_at, e.created_at))::double precision AS age_s,
  e._asked_at AS last_seen_at
FROM history.executions e
LEFT JOIN history.connections c ON c.connection_id = e.connection_id
LEFT JOIN history.workflows w ON w.connection_id = e.connection_id AND w.workflow_id = e.workflow_id
WHERE e.settled_at IS NULL
  AND e.missing_since IS NULL
  AND e.ended_at IS NULL
  AND e.outcome NOT IN ('succeeded', 'failed', 'canceled');

COMMENT ON VIEW history.running_now IS 'Executions that had not ended when they were last looked at. One that is running may stay unseen until the next sweep, because sources may give no sign of change before an execution ends.';
COMMENT ON COLUMN history.running_now.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.running_now.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.running_now.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.running_now.workflow_id IS 'Id of the workflow that runs.';
COMMENT ON COLUMN history.running_now.workflow_name IS 'Name of the workflow as known today, else as the execution carried it, else the workflow''s id.';
COMMENT ON COLUMN history.running_now.status IS 'The source''s own word for its state.';
COMMENT ON COLUMN history.running_now.outcome IS 'queued, running or unknown.';
COMMENT ON COLUMN history.running_now.created_at IS 'When it was created at the source.';
COMMENT ON COLUMN history.running_now.started_at IS 'When it started; null while it waits.';
COMMENT ON COLUMN history.running_now.age_s IS 'Seconds since it started, or since it was created while it waits.';
COMMENT ON COLUMN history.running_now.last_seen_at IS 'When the source was asked for what stands here; looking again without a change leaves it as it is.';
CREATE OR REPLACE VIEW history.step_facts AS
SELECT
  s.connection_id,
  c.platform,
  s.execution_id,
  s.node_id,
  s.attempt,
  e.workflow_id,
  COALESCE(w.name, e.workflow_name, e.workflow_id) AS workflow_name,
  e.status AS execution_status,
  e.outcome AS execution_outcome,
  e.created_at,
  (e.created_at AT TIME ZONE 'UTC')::date AS day,
  date_trunc('hour', e.created_at, 'UTC') AS hour,
  s.node_name,
  s.node_type,
  s.position,
  s.status,
  s.outcome,
  s.message,
  s.failure_reason,
  s.started_at,
  s.ended_at,
  s.duration_ms,
  s.duration_ms / 1000.0::double precision AS duration_s,
  s.event_count,
  s.synced_at
FROM history.steps s
JOIN history.executions e ON e.connection_id = s.connection_id AND e.execution_id = s.execution_id
LEFT JOIN history.connections c ON c.connection_id = e.connection_id
LEFT JOIN history.workflows w ON w.connection_id = e.connection_id AND w.workflow_id = e.workflow_id;

COMMENT ON VIEW history.step_facts IS 'One row per attempt of a step with its workflow and its execution''s outcome and day. Filter by connection_id and day: they are indexed together.';
COMMENT ON COLUMN history.step_facts.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.step_facts.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.step_facts.execution_id IS 'The execution''s id at the source.';
COMMENT ON COLUMN history.step_facts.node_id IS 'Id of the node.';
COMMENT ON COLUMN history.step_facts.attempt IS 'Attempt of the node, from 1.';
COMMENT ON COLUMN history.step_facts.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.step_facts.workflow_name IS 'Name of the workflow as known today, else as the execution carried it, else the workflow''s id.';
COMMENT ON COLUMN history.step_facts.execution_status IS 'The source''s own word for the execution''s state.';
COMMENT ON COLUMN history.step_facts.execution_outcome IS 'The execution''s outcome: queued, running, succeeded, failed, canceled or unknown.';
COMMENT ON COLUMN history.step_facts.created_at IS 'When the execution was created at the source.';
COMMENT ON COLUMN history.step_facts.day IS 'UTC day of created_at.';
COMMENT ON COLUMN history.step_facts.hour IS 'Start of the UTC hour of created_at.';
COMMENT ON COLUMN history.step_facts.node_name IS 'Name of the node as known when first written.';
COMMENT ON COLUMN history.step_facts.node_type IS 'The source''s own word for the kind of node.';
COMMENT ON COLUMN history.step_facts.position IS 'Rank of the node''s first event within the execution, from 1.';
COMMENT ON COLUMN history.step_facts.status IS 'The source''s own word for the step''s last state.';
COMMENT ON COLUMN history.step_facts.outcome IS 'The step''s outcome: queued, running, succeeded, failed, canceled or unknown.';
COMMENT ON COLUMN history.step_facts.message IS 'Message of the attempt''s last event.';
COMMENT ON COLUMN history.step_facts.failure_reason IS 'Fingerprint of the message of a failed step: ids, numbers and names taken out.';
COMMENT ON COLUMN history.step_facts.started_at IS 'When the attempt started.';
COMMENT ON COLUMN history.step_facts.ended_at IS 'When the attempt ended; null when never seen to end.';
COMMENT ON COLUMN history.step_facts.duration_ms IS 'Milliseconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.step_facts.duration_s IS 'Seconds from started_at to ended_at; null while either is missing.';
COMMENT ON COLUMN history.step_facts.event_count IS 'Number of events folded into this attempt.';
COMMENT ON COLUMN history.step_facts.synced_at IS 'When the step''s row was last written (database clock); visible up to a minute later.';
-- Both counts are taken once over their partial indexes, not once per partition.
CREATE OR REPLACE VIEW history.sync_freshness AS
SELECT
  m.connection_id,
  c.platform,
  m.partition,
  w.name AS workflow_name,
  m.watermark_at,
  EXTRACT(epoch FROM now() - m.watermark_at)::double precision AS lag_seconds,
  m.complete_from,
  CASE WHEN m.lookback_from IS NOT NULL THEN LEAST(m.lookback_from, o.first_created_at) END AS settled_until,
  COALESCE(o.executions, 0) AS open_executions,
  COALESCE(d.executions, 0) AS steps_due,
  m.last_success_at,
  m.last_error,
  m.last_error_at
FROM syncer.watermarks m
LEFT JOIN (
  SELECT connection_id, _partition, count(*) AS executions, min(created_at) AS first_created_at
  FROM history.executions
  WHERE settled_at IS NULL AND missing_since IS NULL
  GROUP BY connection_id, _partition
) AS o ON o.connection_id = m.connection_id AND o._partition = m.partition
LEFT JOIN (
  SELECT connection_id, _partition, count(*) AS executions
  FROM history.executions
  WHERE steps_state = 'due'
  GROUP BY connection_id, _partition
) AS d ON d.connection_id = m.connection_id AND d._partition = m.partition
LEFT JOIN history.connections c ON c.connection_id = m.connection_id
LEFT JOIN history.workflows w ON w.connection_id = m.connection_id AND w.workflow_id = m.partition
WHERE m.stream = 'executions';

COMMENT ON VIEW history.sync_freshness IS 'How far each partition is copied. Everything created in [complete_from, settled_until) is here with its steps and will not change.';
COMMENT ON COLUMN history.sync_freshness.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.sync_freshness.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.sync_freshness.partition IS 'What is copied by itself: a workflow''s id, or a workspace.';
COMMENT ON COLUMN history.sync_freshness.workflow_name IS 'Name of the workflow where the partition is one.';
COMMENT ON COLUMN history.sync_freshness.watermark_at IS 'Every execution created before this instant has been read, its steps perhaps not yet.';
COMMENT ON COLUMN history.sync_freshness.lag_seconds IS 'Seconds from watermark_at to now.';
COMMENT ON COLUMN history.sync_freshness.complete_from IS 'Start of the unbroken, proved span that ends at watermark_at.';
COMMENT ON COLUMN history.sync_freshness.settled_until IS 'End of the span that will not change any more: the first open execution, or the watermark less the lookback.';
COMMENT ON COLUMN history.sync_freshness.open_executions IS 'Number of executions whose copy is not final yet.';
COMMENT ON COLUMN history.sync_freshness.steps_due IS 'Number of executions whose steps are still to be read.';
COMMENT ON COLUMN history.sync_freshness.last_success_at IS 'When a pass over the partition last succeeded.';
COMMENT ON COLUMN history.sync_freshness.last_error IS 'What went wrong last; null after a success.';
COMMENT ON COLUMN history.sync_freshness.last_error_at IS 'When it went wrong.';
CREATE OR REPLACE VIEW history.workflow_daily AS
SELECT
  e.connection_id,
  c.platform,
  e.day,
  e.workflow_id,
  COALESCE(w.name, e.workflow_name, e.workflow_id) AS workflow_name,
  e.runs,
  e.succeeded,
  e.failed,
  e.canceled,
  e.succeeded / NULLIF(e.succeeded + e.failed, 0)::double precision AS success_rate,
  e.p50_s,
  e.p95_s,
  e.max_s
FROM (
  SELECT
    connection_id,
    (created_at AT TIME ZONE 'UTC')::date AS day,
    workflow_id,
    max(workflow_name) AS workflow_name,
    count(*) AS runs,
    count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    count(*) FILTER (WHERE outcome = 'canceled') AS canceled,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) / 1000 AS p50_s,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) / 1000 AS p95_s,
    max(duration_ms) / 1000.0::double precision AS max_s
  FROM history.executions
  GROUP BY connection_id, (created_at AT TIME ZONE 'UTC')::date, workflow_id
) AS e
LEFT JOIN history.connections c ON c.connection_id = e.connection_id
LEFT JOIN history.workflows w ON w.connection_id = e.connection_id AND w.workflow_id = e.workflow_id;

COMMENT ON VIEW history.workflow_daily IS 'One row per workflow and UTC day on which it ran: counts, success rate and durations.';
COMMENT ON COLUMN history.workflow_daily.connection_id IS 'Name of the connection in the configuration: one tenant of one platform.';
COMMENT ON COLUMN history.workflow_daily.platform IS 'Kind of platform the connection reads, e.g. qualys_flow.';
COMMENT ON COLUMN history.workflow_daily.day IS 'UTC day on which the executions were created.';
COMMENT ON COLUMN history.workflow_daily.workflow_id IS 'Id of the workflow that ran.';
COMMENT ON COLUMN history.workflow_daily.workflow_name IS 'Name of the workflow as known today, else as an execution carried it, else the workflow''s id.';
COMMENT ON COLUMN history.workflow_daily.runs IS 'Number of executions created that day, ended or not.';
COMMENT ON COLUMN history.workflow_daily.succeeded IS 'How many of them succeeded.';
COMMENT ON COLUMN history.workflow_daily.failed IS 'How many of them failed.';
COMMENT ON COLUMN history.workflow_daily.canceled IS 'How many of them were canceled.';
COMMENT ON COLUMN history.workflow_daily.success_rate IS 'succeeded / (succeeded + failed), from 0 to 1; null when both are 0.';
COMMENT ON COLUMN history.workflow_daily.p50_s IS 'Median duration in seconds of those that ended; null when none did.';
COMMENT ON COLUMN history.workflow_daily.p95_s IS '95th percentile of the duration in seconds of those that ended; null when none did.';
COMMENT ON COLUMN history.workflow_daily.max_s IS 'Longest duration in seconds of those that ended; null when none did.';
