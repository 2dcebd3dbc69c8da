-- Runs by day and outcome
-- bar of succeeded, failed, canceled, not_ended by day
SELECT day, sum(succeeded) AS succeeded, sum(failed) AS failed, sum(canceled) AS canceled,
  sum(runs - succeeded - failed - canceled) AS not_ended
FROM history.workflow_daily
WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY day
ORDER BY day
