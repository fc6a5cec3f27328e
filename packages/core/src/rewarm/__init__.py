"""Keep caches warm and right from whatever task queue a project already runs."""

from .adapter import Adapter, Capability, Finding
from .app import Rewarm
from .entry import Entry, Read, State
from .errors import (
    ArgumentError,
    BlockingCall,
    ConfigurationError,
    DuplicateJob,
    EnqueueError,
    NotAcknowledged,
    OutcomeTimeout,
    PayloadError,
    RewarmError,
    SerializeError,
    StoreError,
    TaskDead,
    Throttled,
)
from .job import AsyncJob, BoundJob, Job
from .receipt import Receipt, Report
from .retry import Breaker, Retry
from .task import Route, Task
from .worker import Outcome

__all__ = [
    "Adapter",
    "ArgumentError",
    "AsyncJob",
    "BlockingCall",
    "BoundJob",
    "Breaker",
    "Capability",
    "ConfigurationError",
    "DuplicateJob",
    "EnqueueError",
    "Entry",
    "Finding",
    "Job",
    "NotAcknowledged",
    "Outcome",
    "OutcomeTimeout",
    "PayloadError",
    "Read",
    "Receipt",
    "Report",
    "Retry",
    "Rewarm",
    "RewarmError",
    "Route",
    "SerializeError",
    "State",
    "StoreError",
    "Task",
    "TaskDead",
    "Throttled",
]
