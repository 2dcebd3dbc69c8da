"""The service: every connection polled on its own schedule until a signal ends it.

    service.py      all connections together: the scheduler, the warehouse, reloading, stopping
    poller.py       one connection: what is done when
    complaints.py   what is said of its troubles, once each
    pauses.py       how long to wait before what failed is tried again
    web.py          /healthz, /readyz and /metrics, answered from a thread of their own
    metrics.py      what Prometheus reads
    vitals.py       what may be asked of the service by those two

Invariant: a connection that fails or waits never delays another, and whatever happens is tried again, ever more
rarely, until it works or the service is stopped. It must not know how tenants are built: they come in as a function.
"""

from syncer.service.service import Service, Tools

__all__ = ["Service", "Tools"]
