{{
  config(
    materialized = 'incremental',
    unique_key = ['connection_id', 'execution_id'],
    incremental_strategy = 'delete+insert',
    indexes = [{'columns': ['connection_id', 'workflow_id', 'created_at']}, {'columns': ['synced_at']}],
    on_schema_change = 'append_new_columns',
  )
}}

-- An execution is copied again whenever it changed; with synced_at the rows that did are found by an index.
select
  connection_id || '/' || execution_id as execution_key,
  connection_id,
  execution_id,
  workflow_id,
  status,
  outcome,
  trigger,
  failure_reason,
  created_at,
  started_at,
  ended_at,
  duration_ms / 1000.0 as duration_s,
  step_count,
  failed_step_count,
  settled_at is not null as is_final,
  synced_at
from {{ source('history', 'executions') }}
{% if is_incremental() %}
where synced_at >= (
  select coalesce(max(synced_at), '-infinity') - interval '{{ var("look_back") }}' from {{ this }}
)
{% endif %}
