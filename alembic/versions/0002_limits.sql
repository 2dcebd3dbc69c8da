CREATE INDEX executions_created_idx ON history.executions (connection_id, created_at);
CREATE INDEX executions_failed_steps_idx ON history.executions (connection_id, execution_id)
  INCLUDE (workflow_id, created_at) WHERE failed_step_count > 0;
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
    example.workflow_name,
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
      count(*) AS count,
      min(e.created_at) AS first_seen_at,
      max(e.created_at) AS last_seen_at,
      (array_agg(s.execution_id ORDER BY e.created_at DESC, s.execution_id))[1] AS execution_id
    FROM history.steps s
    JOIN history.executions e ON e.connection_id = s.connection_id AND e.execution_id = s.execution_id
    WHERE s.failure_reason IS NOT NULL AND e.failed_step_count > 0
    GROUP BY s.connection_id, s.failure_reason, e.workflow_id
  ) AS g
  CROSS JOIN LATERAL (
    SELECT e.workflow_name, s.message
    FROM history.steps s
    JOIN history.executions e ON e.connection_id = s.connection_id AND e.execution_id = s.execution_id
    WHERE s.connection_id = g.connection_id
      AND s.failure_reason = g.failure_reason
      AND s.execution_id = g.execution_id
    ORDER BY s.node_id, s.attempt
    LIMIT 1
  ) AS example
) AS f
LEFT JOIN history.connections c ON c.connection_id = f.connection_id
LEFT JOIN history.workflows w ON w.connection_id = f.connection_id AND w.workflow_id = f.workflow_id;
