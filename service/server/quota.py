"""How much each bearer of a token uses: calls at once, and tokens per minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlxforge.engine.errors import DeadlineExceeded, ResourceExhausted

from ..api import CallRecord

# Of a call that was given up before its prompt was counted.
BYTES_PER_TOKEN = 4


class Bucket:
    """A token bucket that holds a minute's worth.

    What a call uses is known once it is used, so the level may fall below zero; then there
    is nothing until it has risen again. In the long run the rate is kept exactly.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._level = float(per_minute)
        self._at = clock()

    def spend(self, tokens: int) -> None:
        """Take tokens out."""
        self._fill()
        self._level -= tokens

    def wait(self) -> float:
        """Seconds until there is a token; 0: there is one."""
        self._fill()
        return max(0.0, (1.0 - self._level) / self.per_minute * 60.0)

    def _fill(self) -> None:
        now = self._clock()
        risen = self._level + (now - self._at) * self.per_minute / 60.0
        self._level, self._at = min(float(self.per_minute), risen), now


class Quota:
    """What one bearer has running and has used."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._max_calls: int | None = None
        self._bucket: Bucket | None = None
        self._meters: set[Meter] = set()

    def limit(self, max_calls: int | None, tokens_per_minute: int | None) -> None:
        """Set limits; None: unlimited. A rate that stays the same keeps its level."""
        self._max_calls = max_calls
        if tokens_per_minute is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.per_minute != tokens_per_minute:
            self._bucket = Bucket(tokens_per_minute, self._clock)

    @contextmanager
    def admit(self, record: CallRecord) -> Iterator[Meter]:
        """Counts a call while it runs, and what its record says it has used.

        Raises ``ResourceExhausted`` beyond the limit of calls.
        """
        if self._max_calls is not None and len(self._meters) >= self._max_calls:
            raise ResourceExhausted(
                f"this token's bearer already runs {self._max_calls} calls; wait for one to end",
                reason="TOO_MANY_CALLS_OF_TOKEN",
            )
        meter = Meter(self, record)
        self._meters.add(meter)
        try:
            yield meter
        except (asyncio.CancelledError, DeadlineExceeded):
            meter.abandoned = True
            raise
        finally:
            self._meters.discard(meter)
            meter.close()

    def check(self) -> None:
        """Raises ``ResourceExhausted`` when the minute's tokens are used up, also by calls
        that still run.
        """
        if self._bucket is None:
            return
        for meter in self._meters:
            meter.settle()
        wait = self._bucket.wait()
        if wait > 0:
            raise ResourceExhausted(
                f"this token's bearer has used its {self._bucket.per_minute:,} tokens per "
                f"minute; come back in {wait:.1f} s",
                reason="TOKENS_PER_MINUTE",
                retry_after=wait,
            )

    def spend(self, tokens: int) -> None:
        """Charge what was used."""
        if self._bucket is not None and tokens:
            self._bucket.spend(tokens)


class Meter:
    """Charges one call's tokens to its caller."""

    def __init__(self, quota: Quota, record: CallRecord) -> None:
        self.abandoned = False
        """Whether the caller left before the end."""
        self._quota = quota
        self._record = record
        self._charged = 0
        self._received = 0

    def request(self, size: int) -> None:
        """A request message of so many bytes has come. Raises ``ResourceExhausted``."""
        self._quota.check()
        self._received += size

    def settle(self) -> None:
        """Charge what the record shows and was not charged yet."""
        used = self._record.prompt_tokens + self._record.completion_tokens
        self._quota.spend(used - self._charged)
        self._charged = used

    def close(self) -> None:
        """Charge the rest. A prompt that was not counted, because its caller left before the
        end, is guessed from its size: to ask and run away is not free.
        """
        self.settle()
        if self.abandoned and not self._record.prompt_tokens:
            self._quota.spend(self._received // BYTES_PER_TOKEN)
