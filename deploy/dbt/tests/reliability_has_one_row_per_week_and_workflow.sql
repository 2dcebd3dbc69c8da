select week, connection_id, workflow_id
from {{ ref('workflow_reliability_weekly') }}
group by 1, 2, 3
having count(*) > 1
