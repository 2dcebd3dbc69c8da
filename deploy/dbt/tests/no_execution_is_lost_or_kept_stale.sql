-- What the warehouse holds stands in the model as it is now. (What `syncer purge` deleted stays in the model until
-- `dbt build --full-refresh`.)
select e.connection_id, e.execution_id
from {{ source('history', 'executions') }} e
left join {{ ref('stg_executions') }} s using (connection_id, execution_id)
where e.synced_at is distinct from s.synced_at or e.outcome is distinct from s.outcome
