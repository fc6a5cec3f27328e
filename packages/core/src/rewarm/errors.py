"""Every exception that Rewarm raises. A load's own exception is never wrapped: it reaches the caller unchanged."""


class RewarmError(Exception):
    """Base of all errors raised by Rewarm."""


class ConfigurationError(RewarmError, ValueError):
    """The application, a job or a policy is set up wrongly. Raised at import, `add` or `configure`."""


class DuplicateJob(ConfigurationError):
    """Two different functions want the same job name within one application."""


class ArgumentError(RewarmError, TypeError):
    """A call's arguments do not fit the job, or cannot travel to a worker."""


class SerializeError(RewarmError, TypeError):
    """A value would not come back equal from the store, or stored bytes cannot be read."""


class BlockingCall(RewarmError, RuntimeError):
    """A blocking verb of an `async def` job was called inside a running event loop; use its `a` twin."""


class PayloadError(RewarmError, ValueError):
    """A task's wire form is malformed, of an unknown version, or wrongly signed."""


class StoreError(RewarmError, ConnectionError):
    """The store could not be reached, or refused a step.

    `answered`: what earlier steps of the batch came to, where it went to two servers.
    """

    answered: tuple[object, ...] = ()


class EnqueueError(RewarmError, ConnectionError):
    """The queue did not accept a task."""


class Throttled(RewarmError):
    """A source is not asked now: its job's `rate` or `breaker` forbids it, or it rests after a failure (`throttle`).

    `retry_after`: seconds until it may be asked.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeTimeout(RewarmError, TimeoutError):
    """A task had not ended within the time that `Receipt.outcome` was given."""


class TaskDead(RewarmError):
    """For adapters: this delivery is buried. Show a failure in the queue's own tools and never run it again."""


class NotAcknowledged(RewarmError):
    """For adapters: a follow-up could neither be queued nor buried. Keep the message."""
