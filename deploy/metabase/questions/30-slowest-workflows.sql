-- Slowest workflows, in seconds
-- table
SELECT connection_id AS connection, min(workflow_name) AS workflow, count(*) AS runs,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_s) AS median_s,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_s) AS p95_s, max(duration_s) AS longest_s
FROM history.execution_facts
WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY connection_id, workflow_id
ORDER BY p95_s DESC NULLS LAST
LIMIT 20
