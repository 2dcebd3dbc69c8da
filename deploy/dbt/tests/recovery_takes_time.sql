select connection_id, workflow_id
from {{ ref('workflow_recovery') }}
where mean_time_to_recovery_s < 0 or longest_s < mean_time_to_recovery_s or still_failing > outages
