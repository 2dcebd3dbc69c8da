"""Where things stand: one form of path for the yearly versions, another for the versions of each service.

Invariant: an id never leaves its segment of a path (docs/sailpoint.md, Paths).
"""

from __future__ import annotations

from syncer.http import segment

PER_SERVICE = "per-service"


class Routes:
    """The paths of one version of the interface."""

    def __init__(self, api_path: str) -> None:
        self.is_yearly = api_path != PER_SERVICE
        self.has_second_history = api_path != "v2024"
        self.workflows = f"/{api_path}/workflows" if self.is_yearly else "/workflows/v1"
        self._executions = f"/{api_path}/workflow-executions" if self.is_yearly else "/workflow-executions/v1"

    def workflow(self, workflow_id: str) -> str:
        """One workflow."""
        return f"{self.workflows}/{segment(workflow_id)}"

    def executions(self, workflow_id: str) -> str:
        """The executions of one workflow."""
        return f"{self.workflow(workflow_id)}/executions"

    def execution(self, execution_id: str) -> str:
        """One execution."""
        return f"{self._executions}/{segment(execution_id)}"

    def history(self, execution_id: str) -> str:
        """The events of one execution."""
        return f"{self.execution(execution_id)}/history"

    def second_history(self, execution_id: str) -> str:
        """The events of one execution, with the definition that ran and what triggered it."""
        return f"{self.execution(execution_id)}/history-v2"
