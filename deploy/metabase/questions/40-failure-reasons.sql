-- Why runs fail
-- table
SELECT failure_reason AS reason, count(*) AS times, count(DISTINCT (connection_id, workflow_id)) AS workflows,
  min(created_at) AS first_seen, max(created_at) AS last_seen
FROM history.execution_facts
WHERE outcome = 'failed' AND day > (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY failure_reason
ORDER BY times DESC, reason
LIMIT 25
