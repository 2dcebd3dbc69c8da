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
