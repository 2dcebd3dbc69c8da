"""syncer copies the execution history of workflow-automation platforms into PostgreSQL."""

__version__ = "0.1.0"
