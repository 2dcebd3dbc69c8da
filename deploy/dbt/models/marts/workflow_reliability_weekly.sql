-- Weeks begin on Monday, 00:00 UTC, as days do everywhere in the warehouse.
select
  date_trunc('week', e.created_at at time zone 'UTC')::date as week,
  e.connection_id,
  e.workflow_id,
  coalesce(w.workflow_name, e.workflow_id) as workflow_name,
  count(*) as runs,
  count(*) filter (where e.outcome = 'succeeded') as succeeded,
  count(*) filter (where e.outcome = 'failed') as failed,
  count(*) filter (where e.outcome = 'canceled') as canceled,
  count(*) filter (where e.outcome = 'succeeded')
    / nullif(count(*) filter (where e.outcome in ('succeeded', 'failed')), 0)::double precision as success_rate,
  percentile_cont(0.5) within group (order by e.duration_s) as p50_s,
  percentile_cont(0.95) within group (order by e.duration_s) as p95_s
from {{ ref('stg_executions') }} e
left join {{ ref('stg_workflows') }} w using (connection_id, workflow_id)
group by 1, 2, 3, 4
