-- An outage begins with the first failure after a success and ends with the next success.
with runs as (
  select
    connection_id,
    workflow_id,
    created_at,
    coalesce(ended_at, created_at) as ended_at,
    outcome,
    lag(outcome) over same as former
  from {{ ref('stg_executions') }}
  where outcome in ('succeeded', 'failed')
  window same as (partition by connection_id, workflow_id order by created_at, execution_id)
),

outages as (
  select
    connection_id,
    workflow_id,
    created_at as began_at,
    (
      select min(later.ended_at)
      from runs later
      where later.connection_id = runs.connection_id
        and later.workflow_id = runs.workflow_id
        and later.outcome = 'succeeded'
        and later.created_at > runs.created_at
    ) as recovered_at
  from runs
  where outcome = 'failed' and former is distinct from 'failed'
)

select
  o.connection_id,
  o.workflow_id,
  coalesce(w.workflow_name, o.workflow_id) as workflow_name,
  count(*) as outages,
  count(*) - count(o.recovered_at) as still_failing,
  extract(epoch from avg(o.recovered_at - o.began_at))::double precision as mean_time_to_recovery_s,
  extract(epoch from max(o.recovered_at - o.began_at))::double precision as longest_s,
  max(o.began_at) as last_began_at
from outages o
left join {{ ref('stg_workflows') }} w using (connection_id, workflow_id)
group by 1, 2, 3
