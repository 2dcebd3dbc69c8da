-- How far the copy is
-- table
SELECT connection_id AS connection, coalesce(workflow_name, partition) AS workflow, watermark_at AS copied_to,
  round(lag_seconds::numeric / 60) AS minutes_behind, complete_from, settled_until,
  open_executions AS not_final, steps_due, last_success_at AS last_success, last_error
FROM history.sync_freshness
ORDER BY lag_seconds DESC NULLS FIRST
