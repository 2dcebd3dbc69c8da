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
