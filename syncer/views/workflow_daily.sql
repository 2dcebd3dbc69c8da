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
