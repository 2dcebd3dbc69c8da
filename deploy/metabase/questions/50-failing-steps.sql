-- Steps that fail most
-- table
SELECT connection_id AS connection, min(workflow_name) AS workflow, coalesce(min(node_name), node_id) AS step,
  count(*) AS attempts, count(*) FILTER (WHERE outcome = 'failed') AS failed,
  round(100.0 * count(*) FILTER (WHERE outcome = 'failed') / count(*), 1) AS failed_percent
FROM history.step_facts
WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY connection_id, workflow_id, node_id
HAVING count(*) FILTER (WHERE outcome = 'failed') > 0
ORDER BY failed DESC, connection, workflow, step
LIMIT 25
