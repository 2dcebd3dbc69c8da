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
