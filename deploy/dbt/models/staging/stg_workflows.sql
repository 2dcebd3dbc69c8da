select
  w.connection_id || '/' || w.workflow_id as workflow_key,
  w.connection_id,
  c.platform,
  w.workflow_id,
  coalesce(w.name, w.workflow_id) as workflow_name,
  w.is_active,
  w.missing_since is not null as is_deleted
from {{ source('history', 'workflows') }} w
join {{ source('history', 'connections') }} c using (connection_id)
