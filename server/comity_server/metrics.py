"""The metrics of the server. No label ever holds a name, an id or a path that a client chose."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The counters of one server (several can live in one process, as in tests)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "comity_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.refused = Counter("comity_refused", "Refusals by code.", ["code"], registry=self.registry)
        self.acts = Counter("comity_acts_accepted", "Accepted acts.", registry=self.registry)
        self.exempt_contests = Counter(
            "comity_exempt_contests",
            "Contests of notices of safety, security and law: they change nothing, and somebody should look.",
            registry=self.registry,
        )
        self.groups = Counter("comity_groups", "Committed groups.", registry=self.registry)
        self.failed = Counter("comity_commits_failed", "Groups whose commit failed.", registry=self.registry)
        self.released = Counter("comity_released", "Events that time alone brought.", registry=self.registry)
        self.pruned = Counter(
            "comity_pruned", "Rows that were deleted in their time.", ["table"], registry=self.registry
        )
        self.commit_seconds = Histogram(
            "comity_commit_seconds",
            "Time of one commit.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0),
            registry=self.registry,
        )
        self.queued = Gauge("comity_queue", "Commands that wait for the writer.", registry=self.registry)
        self.entries = Gauge(
            "comity_log_entries", "Entries that are committed to the active log.", registry=self.registry
        )
        self.signed = Gauge("comity_log_signed", "Entries that its checkpoint covers.", registry=self.registry)
        self.cosigned = Gauge("comity_log_cosignatures", "Cosignatures on what is served.", registry=self.registry)
        self.signing = Gauge(
            "comity_log_signing", "1 while checkpoints are signed, 0 once that stopped.", registry=self.registry
        )
        about = "1 while it is there; /readyz says more."
        self.condition = Gauge("comity_condition", about, ["condition"], registry=self.registry)
        self.connections = Gauge("comity_connections", "Connections of clients.", registry=self.registry)
        self.waiters = Gauge("comity_waiters", "Requests that wait for news.", registry=self.registry)

    def text(self) -> bytes:
        """The exposition for /metrics."""
        return generate_latest(self.registry)
