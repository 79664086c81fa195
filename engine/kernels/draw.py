"""A random token per row under temperature, top_k, top_p and min_p, without sorting.

One block serves one row. The thresholds of top_k and top_p are found by narrowing an
interval of logits, several pivots at a time, because a pass over a row that sits in the L2
cache costs far less than sorting it. The draw inverts the cumulative mass at one uniform
number, which comes from the row's own key.
"""

from __future__ import annotations

import mlx.core as mx

from .cuda import kernel

_BODY = r"""
constexpr int WARPS = THREADS / 32;
constexpr int PIVOTS = 4;
constexpr int PASSES = 12;   // 5^12 parts of the interval: beyond float resolution
constexpr float FLOOR = -40.f;  // e^-40 of the likeliest token's mass is none
const int place = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int vocab = logits_shape[1];
const T* x = logits + (size_t)rows[place] * vocab;
const float inverse = settings[place * 4], top_p = settings[place * 4 + 1];
const float top_k = settings[place * 4 + 2], log_min_p = settings[place * 4 + 3];
__shared__ float shared[WARPS][2 * PIVOTS];

auto block_sum = [&](float* totals, int count) {
  for (int i = 0; i < count; i++) totals[i] = warp_sum(totals[i]);
  __syncthreads();
  if (lane == 0) for (int i = 0; i < count; i++) shared[warp][i] = totals[i];
  __syncthreads();
  for (int i = 0; i < count; i++) {
    float total = 0.f;
    for (int w = 0; w < WARPS; w++) total += shared[w][i];
    totals[i] = total;
  }
};

float best = -INFINITY;
for (int i = threadIdx.x; i < vocab; i += THREADS) best = fmaxf(best, static_cast<float>(x[i]));
best = warp_max(best);
if (lane == 0) shared[warp][0] = best;
__syncthreads();
for (int w = 0; w < WARPS; w++) best = fmaxf(best, shared[w][0]);
auto value = [&](int i) { return (static_cast<float>(x[i]) - best) * inverse; };
// Calls `use` with every logit of the row, read 16 bytes at a time.
auto each = [&](auto use) {
  if constexpr (WIDE) {
    for (int i = threadIdx.x * 8; i < vocab; i += THREADS * 8) {
      float pack[8];
      load8(x + i, pack);
      #pragma unroll
      for (int e = 0; e < 8; e++) use((pack[e] - best) * inverse);
    }
  } else {
    for (int i = threadIdx.x; i < vocab; i += THREADS) use(value(i));
  }
};

float threshold = fmaxf(log_min_p, -INFINITY);
// The largest threshold that still keeps `wanted` tokens, or that much mass.
auto narrow = [&](float wanted, bool by_count, float bound) {
  float low = FLOOR, high = 1e-6f;
  for (int pass = 0; pass < PASSES; pass++) {
    float totals[PIVOTS] = {0.f, 0.f, 0.f, 0.f};
    const float step = (high - low) / (PIVOTS + 1);
    each([&](float v) {
      if (v < low + step || v < bound) return;
      const float amount = by_count ? 1.f : __expf(v);
      #pragma unroll
      for (int p = 0; p < PIVOTS; p++) if (v >= low + (p + 1) * step) totals[p] += amount;
    });
    block_sum(totals, PIVOTS);
    int kept = 0;
    #pragma unroll
    for (int p = 0; p < PIVOTS; p++) if (totals[p] >= wanted) kept = p + 1;
    const float next = low + kept * step;
    high = kept == PIVOTS ? high : low + (kept + 1) * step;
    low = next;
  }
  return low <= FLOOR ? -INFINITY : low;
};
float k_bound = -INFINITY;
if (top_k < vocab) k_bound = narrow(top_k, true, -INFINITY);
float mass[1] = {0.f};
each([&](float v) { if (v >= k_bound) mass[0] += __expf(v); });
block_sum(mass, 1);
threshold = fmaxf(threshold, k_bound);
if (top_p < 1.f) threshold = fmaxf(threshold, narrow(top_p * mass[0], false, k_bound));

// Draw: every warp sums its stretch; the one that holds the target walks along it.
const int stretch = (vocab + WARPS - 1) / WARPS;
const int from = warp * stretch, to = min(vocab, from + stretch);
float part = 0.f;
for (int i = from + lane; i < to; i += 32) {
  const float v = value(i);
  if (v >= threshold) part += __expf(v);
}
part = warp_sum(part);
__syncthreads();
if (lane == 0) shared[warp][0] = part;
__syncthreads();
float total = 0.f;
for (int w = 0; w < WARPS; w++) total += shared[w][0];
const float uniform = (keys[place * 2 + 1] >> 8) * (1.f / 16777216.f);
float target = uniform * total;
int chosen = WARPS - 1;
for (int w = 0; w < WARPS; w++) {
  if (target < shared[w][0]) { chosen = w; break; }
  target -= shared[w][0];
}
// Rounding may leave the target behind the last token: then take the last that counts.
while (chosen > 0 && shared[chosen][0] <= 0.f) chosen--;
if (warp == chosen) {
  int last = -1;
  bool found = false;
  for (int i = from; i < to && !found; i += 32) {
    const float v = i + lane < to ? value(i + lane) : -INFINITY;
    const float own = v >= threshold ? __expf(v) : 0.f;
    float running = own;
    #pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const float before = __shfl_up_sync(0xffffffffu, running, step);
      if (lane >= step) running += before;
    }
    const unsigned counting = __ballot_sync(0xffffffffu, own > 0.f);
    const unsigned reached = __ballot_sync(0xffffffffu, own > 0.f && running > target);
    if (reached) { last = i + __ffs(reached) - 1; found = true; }
    else if (counting) last = i + 31 - __clz(counting);
    target -= __shfl_sync(0xffffffffu, running, 31);
  }
  if (lane == 0) out[place] = last;
}
"""
_THREADS = 1024


def draw(logits: mx.array, rows: mx.array, settings: mx.array, keys: mx.array) -> mx.array:
    """Tokens (n,) uint32 for rows ``rows`` (n,) int32 of ``logits`` (width, vocab).

    ``settings`` (n, 4) f32: 1 / temperature, top_p, top_k (vocab: off), log min_p (-inf:
    off). ``keys`` (n, 2) uint32: where each row's randomness comes from.
    """
    out: mx.array = kernel("draw", ("logits", "rows", "settings", "keys"), ("out",), _BODY)(
        inputs=[logits, rows, settings, keys],
        template=[
            ("T", logits.dtype),
            ("THREADS", _THREADS),
            ("WIDE", logits.shape[1] % 8 == 0),
        ],
        grid=(rows.shape[0] * _THREADS, 1, 1),
        threadgroup=(_THREADS, 1, 1),
        output_shapes=[(rows.shape[0],)],
        output_dtypes=[mx.uint32],
    )[0]
    return out
