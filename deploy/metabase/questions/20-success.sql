-- Success rate by day, in percent
-- line of success_percent by day
SELECT day, round(100 * sum(succeeded) / nullif(sum(succeeded + failed), 0), 1) AS success_percent
FROM history.workflow_daily
WHERE day > (now() AT TIME ZONE 'UTC')::date - 30
GROUP BY day
ORDER BY day
