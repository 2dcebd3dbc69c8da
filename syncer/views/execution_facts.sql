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
