"""A histogram that is cheap to observe: once for every output of every stream.

``prometheus_client``'s takes a lock and looks at the buckets one by one: three times as long,
which at thousands of outputs a second is seen (docs/observability.md).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class GapHistogram(Collector):
    """One for each model. Observed on one thread, collected on any."""

    def __init__(self, name: str, documentation: str, buckets: tuple[float, ...]) -> None:
        self._name = name
        self._documentation = documentation
        self._buckets = buckets
        # Counts (the last is of what lies beyond the buckets) and, in a list, the sum.
        self._models: dict[str, tuple[list[int], list[float]]] = {}

    def observer(self, model_id: str) -> Callable[[float], None]:
        """Takes a model's observations."""
        buckets = self._buckets
        fresh: tuple[list[int], list[float]] = ([0] * (len(buckets) + 1), [0.0])
        counts, total = self._models.setdefault(model_id, fresh)

        def observe(seconds: float) -> None:
            counts[bisect_left(buckets, seconds)] += 1
            total[0] += seconds

        return observe

    def remove(self, model_id: str) -> None:
        """Forget a model."""
        self._models.pop(model_id, None)

    def collect(self) -> Iterable[Metric]:
        """See ``Collector.collect``."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=("model_name",))
        bounds = [*map(floatToGoString, self._buckets), "+Inf"]
        for model_id, (counts, total) in list(self._models.items()):
            upto = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric((model_id,), upto, sum_value=total[0])
        yield family
