"""The forward pass of the Llama family with fewer, larger operations.

Queries, keys and values come from one matrix product, gate and up from another; on CUDA the
steps between products are single kernels (``kernels``). It computes what mlx-lm's own classes
do, from their weights, for the model types in ``_MODULES``; anything unusual about a model
(sliding windows, another rotation) leaves it to mlx-lm's class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import mlx.core as mx
import mlx.nn as nn

from ..kernels import cpu
from ..kernels import layer as kernels
from ..kernels.attention import Rotation
from ..kv.ragged import RaggedLayer

# mlx-lm modules whose decoder layers have exactly the shape computed here.
_MODULES = ("llama", "qwen2", "qwen3")


# Between two layers: the sum so far and its norm, each (rows, n, width).
State: TypeAlias = tuple[mx.array, mx.array]


@dataclass(slots=True)
class Layer:
    """One decoder layer's weights; modules map (rows, n, in) to (rows, n, out)."""

    qkv: Any
    out: Any
    gate_up: Any
    down: Any
    attention_norm: mx.array
    mlp_norm: mx.array
    qk_norms: tuple[mx.array, mx.array, float] | None


class Uncached:
    """Stands for a layer's cache where texts are read whole and nothing is kept."""

    offset = 0

    def make_mask(self, N: int) -> str | None:
        """Causal."""
        return "causal" if N > 1 else None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """The same."""
        return keys, values


class LlamaForward:
    """Maps (tokens, cache) to logits, as an mlx-lm model does."""

    def __init__(self, model: Any) -> None:
        """Takes the weights over: ``model`` itself cannot be called any more."""
        inner = model.model
        first = inner.layers[0].self_attn
        self.heads, self.kv_heads = first.n_heads, first.n_kv_heads
        self.scale: float = first.scale
        self.rope = first.rope
        self.embedding = inner.embed_tokens
        self.epsilon: float = inner.norm.eps
        self.norm: mx.array = inner.norm.weight
        self.head = getattr(model, "lm_head", None) or self.embedding.as_linear
        self._turning = _turning(self.rope)
        self._slow_cpu = cpu.is_slow_cpu() and self.norm.dtype == mx.float32
        self.layers = [_take_over(layer) for layer in inner.layers]
        self.rotations = [self._rotation(layer) for layer in self.layers]

    @property
    def fits_kernels(self) -> bool:
        """Whether the decode kernels know this model's rotation."""
        return self._turning is not None

    def _rotation(self, layer: Layer) -> Rotation | None:
        return None if self._turning is None else Rotation(*self._turning, layer.qk_norms)

    def __call__(self, tokens: mx.array, cache: list[Any]) -> mx.array:
        """Logits (rows, n, vocab) of ``tokens`` (rows, n); ``cache`` has one entry a layer."""
        logits: mx.array = self.head(self.hidden(tokens, cache))
        return logits

    def vectors(self, tokens: mx.array) -> mx.array:
        """Token vectors (rows, n, width) after the final norm, nothing kept."""
        return self.hidden(tokens, [Uncached()] * len(self.layers))

    def halves(
        self, cache: list[Any]
    ) -> tuple[Callable[[mx.array], State], Callable[[mx.array, mx.array], mx.array]]:
        """The same in two: from tokens to what is between the layers, and from that on."""
        middle = len(self.layers) // 2

        def first(tokens: mx.array) -> State:
            return self._through(self._enter(tokens), cache, range(middle))

        def second(x: mx.array, normed: mx.array) -> mx.array:
            state = self._through((x, normed), cache, range(middle, len(self.layers)))
            logits: mx.array = self.head(state[1])
            return logits

        return first, second

    def hidden(self, tokens: mx.array, cache: list[Any]) -> mx.array:
        """What the head turns into logits, shape (rows, n, width)."""
        return self._through(self._enter(tokens), cache, range(len(self.layers)))[1]

    def _enter(self, tokens: mx.array) -> State:
        x = self.embedding(tokens)
        return x, mx.fast.rms_norm(x, self.layers[0].attention_norm, self.epsilon)

    def _through(self, state: State, cache: list[Any], numbers: range) -> State:
        x, normed = state
        fused = isinstance(cache[0], RaggedLayer)
        mask = None if fused else cache[0].make_mask(x.shape[1])
        followers = [layer.attention_norm for layer in self.layers[1:]] + [self.norm]
        for number in numbers:
            layer, entry = self.layers[number], cache[number]
            if fused:
                mixed = entry.attend(layer.qkv(normed), self.rotations[number], self.scale)
            else:
                mixed = self._attend(layer, layer.qkv(normed), mask, entry)
            x, normed = self._add_norm(x, layer.out(mixed), layer.mlp_norm, fused)
            added = layer.down(self._swiglu(layer.gate_up(normed), fused))
            x, normed = self._add_norm(x, added, followers[number], fused)
        return x, normed

    def _attend(
        self, layer: Layer, qkv: mx.array, mask: mx.array | str | None, entry: Any
    ) -> mx.array:
        q, k, v = self.rotate(layer, qkv, entry.offset)
        keys, values = entry.update_and_fetch(k, v)
        if self._slow_cpu and q.shape[2] == 1 and not isinstance(mask, str):
            mixed = cpu.decode_attention(q, keys, values, self.scale, mask)
        else:
            mixed = mx.fast.scaled_dot_product_attention(
                q, keys, values, scale=self.scale, mask=mask
            )
        return mixed.transpose(0, 2, 1, 3).reshape(*qkv.shape[:2], -1)

    def rotate(
        self, layer: Layer, qkv: mx.array, offset: mx.array | int
    ) -> tuple[mx.array, mx.array, mx.array]:
        """Queries, keys and values, each (rows, heads, n, dim), of ``qkv`` (rows, n, width)."""
        rows, count, _ = qkv.shape
        heads, kv_heads = self.heads, self.kv_heads
        split = qkv.reshape(rows, count, heads + 2 * kv_heads, -1)
        q, k, v = mx.split(split, (heads, heads + kv_heads), axis=2)
        if layer.qk_norms is not None:
            q_weight, k_weight, epsilon = layer.qk_norms
            q = mx.fast.rms_norm(q, q_weight, epsilon)
            k = mx.fast.rms_norm(k, k_weight, epsilon)
        q, k, v = (part.transpose(0, 2, 1, 3) for part in (q, k, v))
        return self.rope(q, offset=offset), self.rope(k, offset=offset), v

    def _add_norm(
        self, x: mx.array, added: mx.array, weight: mx.array, fused: bool
    ) -> tuple[mx.array, mx.array]:
        if fused:
            return kernels.add_norm(x, added, weight, self.epsilon)
        x = x + added
        return x, mx.fast.rms_norm(x, weight, self.epsilon)

    def _swiglu(self, both: mx.array, fused: bool) -> mx.array:
        if fused and both.shape[-1] % 16 == 0:
            return kernels.swiglu(both)
        if self._slow_cpu:
            return cpu.swiglu(both)
        gate, up = mx.split(both, 2, axis=-1)
        activated: mx.array = nn.silu(gate) * up
        return activated


def eligible(model: Any) -> bool:
    """Whether ``LlamaForward`` computes what ``model`` does."""
    module = type(model).__module__
    if module not in {f"mlx_lm.models.{name}" for name in _MODULES}:
        return False
    inner = getattr(model, "model", None)
    layers = getattr(inner, "layers", [])
    return bool(layers) and all(
        type(layer).__name__ == "TransformerBlock"
        and not getattr(layer, "use_sliding", False)
        and _alike([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj])
        and _alike([layer.mlp.gate_proj, layer.mlp.up_proj])
        for layer in layers
    )


def _turning(rope: Any) -> tuple[mx.array, bool] | None:
    """Radians per position of each pair of dimensions, and whether pairs are neighbours.

    None for rotations that the kernels do not do.
    """
    from mlx_lm.models.rope_utils import Llama3RoPE

    if type(rope) is nn.RoPE and rope.scale == 1.0:
        powers = mx.arange(0, rope.dims, 2, dtype=mx.float32) / rope.dims
        return mx.exp(-powers * math.log(rope.base)), bool(rope.traditional)
    if type(rope) is Llama3RoPE:
        return 1.0 / rope._freqs, bool(rope.traditional)
    return None


def _alike(projections: list[Any]) -> bool:
    """Whether projections can be stacked into one."""
    first = projections[0]
    if type(first) not in (nn.Linear, nn.QuantizedLinear):
        return False
    quantization = [
        (getattr(p, "group_size", 0), getattr(p, "bits", 0), getattr(p, "mode", ""))
        for p in projections
    ]
    return (
        all(type(p) is type(first) and set(p.keys()) == set(first.keys()) for p in projections)
        and len(set(quantization)) == 1
    )


def _stacked(projections: list[Any]) -> Any:
    """One projection whose output is theirs side by side. Frees the parts as it goes."""
    stacked = projections[0]
    for name in list(stacked.keys()):
        value = stacked[name]
        if isinstance(value, mx.array):
            stacked[name] = mx.concatenate([p[name] for p in projections], axis=0)
    mx.eval(stacked.parameters())
    for projection in projections[1:]:
        projection.clear()
    return stacked


def _take_over(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    norms = None
    if "q_norm" in attention:
        norms = (attention.q_norm.weight, attention.k_norm.weight, attention.q_norm.eps)
    return Layer(
        qkv=_stacked([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=attention.o_proj,
        gate_up=_stacked([mlp.gate_proj, mlp.up_proj]),
        down=mlp.down_proj,
        attention_norm=layer.input_layernorm.weight,
        mlp_norm=layer.post_attention_layernorm.weight,
        qk_norms=norms,
    )
