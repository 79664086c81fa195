"""Waiting a moment for requests that come together, so that they are prefilled in one wave.

Then they take little longer than the first alone. Beside it, once it decodes, they would be
prefilled in short chunks for the sake of its pace.
"""

from __future__ import annotations

# How long an idle engine waits at most: as long as the prefill of what has come would take, in
# these bounds, or that share of it.
_LEAST, _MOST = 0.02, 0.1
_SHARE = 0.1
# How long after one request another of the same burst may come, as a share of its prefill, and
# at least and at most: over gRPC they come half a millisecond to two apart.
_LINGER_SHARE = 0.05
_LINGER_LEAST, _LINGER_MOST = 0.001, 0.005


def linger(prefill_seconds: float) -> float:
    """Seconds to wait for another request after one whose prefill takes so long."""
    return min(_LINGER_MOST, max(_LINGER_LEAST, _LINGER_SHARE * prefill_seconds))


class Gathering:
    """Says whether an idle engine is to begin a little later."""

    def __init__(self) -> None:
        # Requests that are about to be submitted, or just were; counted by whoever prepares them.
        self.preparing = 0
        self._since: float | None = None

    def leave(self) -> None:
        """Count one request less."""
        self.preparing -= 1

    def wait(self, begins: bool, prefill_seconds: float, now: float) -> bool:
        """Whether to leave what waits where it is, at time ``now``, in seconds.

        ``begins``: an idle engine has something to do. ``prefill_seconds`` is what that will
        take, 0 where it is not known.
        """
        if not (begins and self.preparing):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        most = max(_LEAST, min(prefill_seconds, _MOST), _SHARE * prefill_seconds)
        return now < self._since + most
