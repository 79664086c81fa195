"""Models from GGUF files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import Progress, load_model
from mlxforge.engine.loader.gguf_header import read_gguf_header
from mlxforge.engine.loader.gguf_weights import read_tensors
from mlxforge.engine.loader.progress import Reporter

from .gguf_files import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, LAYERS, vocabulary, weights, write_gguf

TOKENS = mx.array([[3, 14, 15, 92, 65, 35, 89, 79, 3, 2, 38, 46]])


def reference(architecture: str, stored: dict[str, np.ndarray]) -> np.ndarray:
    """Logits (tokens, vocabulary), written out in numpy as llama.cpp defines them."""
    neox = architecture != "llama"
    gemma = architecture == "gemma3"
    ids = np.array(TOKENS)[0]
    positions = np.arange(len(ids))

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        normed: np.ndarray = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * stored[name]
        return normed

    def rope(x: np.ndarray, base: float) -> np.ndarray:  # (tokens, heads, dim)
        half = HEAD_DIM // 2
        angles = positions[:, None, None] * base ** (-np.arange(half) / half)
        cos, sin = np.cos(angles), np.sin(angles)
        a, b = (x[..., :half], x[..., half:]) if neox else (x[..., 0::2], x[..., 1::2])
        turned = a * cos - b * sin, a * sin + b * cos
        return np.concatenate(turned, -1) if neox else np.stack(turned, -1).reshape(x.shape)

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        product: np.ndarray = x @ stored[f"{name}.weight"].T
        return product + stored.get(f"{name}.bias", 0)

    x = stored["token_embd.weight"][ids] * (HIDDEN**0.5 if gemma else 1)
    for i in range(LAYERS[architecture]):
        block = f"blk.{i}"
        h = norm(x, f"{block}.attn_norm.weight")
        q = linear(h, f"{block}.attn_q").reshape(-1, HEADS, HEAD_DIM)
        k = linear(h, f"{block}.attn_k").reshape(-1, KV_HEADS, HEAD_DIM)
        v = linear(h, f"{block}.attn_v").reshape(-1, KV_HEADS, HEAD_DIM)
        if f"{block}.attn_q_norm.weight" in stored:
            q, k = norm(q, f"{block}.attn_q_norm.weight"), norm(k, f"{block}.attn_k_norm.weight")
        q, k = rope(q, 10_000.0), rope(k, 10_000.0)
        k, v = (np.repeat(a, HEADS // KV_HEADS, axis=1) for a in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / HEAD_DIM**0.5
        distance = positions[:, None] - positions[None]
        scores[:, (distance < 0) | (gemma & (i % 6 != 5) & (distance >= 8))] = -np.inf
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", scores, v).reshape(len(ids), -1)
        out = linear(out, f"{block}.attn_output")
        x = x + (norm(out, f"{block}.post_attention_norm.weight") if gemma else out)
        h = norm(x, f"{block}.ffn_norm.weight")
        gate, up = linear(h, f"{block}.ffn_gate"), linear(h, f"{block}.ffn_up")
        if gemma:
            gate = 0.5 * gate * (1 + np.tanh((2 / np.pi) ** 0.5 * (gate + 0.044715 * gate**3)))
        else:
            gate = gate / (1 + np.exp(-gate))
        out = linear(gate * up, f"{block}.ffn_down")
        x = x + (norm(out, f"{block}.post_ffw_norm.weight") if gemma else out)
    head = stored.get("output.weight", stored["token_embd.weight"])
    logits: np.ndarray = norm(x, "output_norm.weight") @ head.T
    return logits


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_the_definition(tmp_path: Path, architecture: str, tied: bool) -> None:
    path = tmp_path / "tiny.gguf"
    stored = write_gguf(path, architecture, tensors=weights(architecture, tied=tied))
    loaded = load_model(str(path), dtype="float32")
    logits = np.array(loaded.model(TOKENS)[0])
    np.testing.assert_allclose(logits, reference(architecture, stored), rtol=2e-4, atol=2e-4)
    assert loaded.vocab_size == len(vocabulary())
    assert loaded.max_model_len == 256
    assert loaded.dtype == "float32"
    assert loaded.eos_token_ids == {0, 2}
    assert loaded.weight_bytes == sum(4 * array.size for array in stored.values())


@pytest.mark.parametrize(
    "kind", [Kind.F16, Kind.BF16, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0]
)
def test_storage_types(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / "tiny.gguf"
    stored = write_gguf(path, kind=kind)
    loaded = load_model(str(path), dtype="float32")
    logits = np.array(loaded.model(TOKENS)[0])
    np.testing.assert_allclose(logits, reference("llama", stored), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1, Kind.Q8_0])
def test_packed_weights_are_the_same_values(tmp_path: Path, kind: Kind) -> None:
    """What a GPU keeps quantized equals what the CPU expands, and MLX's own reader."""
    path = tmp_path / "tiny.gguf"
    stored = write_gguf(path, kind=kind)
    header = read_gguf_header(path)
    native: Any = mx.load(str(path))
    for tensor, arrays in read_tensors(
        path, header, mx.float16, packed=True, report=Reporter(None)
    ):
        if "scales" not in arrays:
            continue
        stem = tensor.name.removesuffix(".weight")
        assert mx.array_equal(arrays["weight"], native[tensor.name]).item()
        assert mx.allclose(arrays["scales"], native[f"{stem}.scales"]).item()
        assert mx.allclose(arrays["biases"], native[f"{stem}.biases"], atol=1e-3).item()
        bits = 8 if kind is Kind.Q8_0 else 4
        triplet = (arrays["weight"], arrays["scales"], arrays["biases"])
        dense = np.array(mx.dequantize(*triplet, 32, bits).astype(mx.float32))
        np.testing.assert_allclose(dense, stored[tensor.name], atol=4e-3)


def test_packed_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quantized path of Metal and CUDA, run on the CPU."""
    from mlxforge.engine.loader import arrays

    path = tmp_path / "tiny.gguf"
    stored = write_gguf(path, kind=Kind.Q8_0)
    monkeypatch.setattr(arrays, "runs_on_cpu", lambda: False)
    loaded = load_model(str(path))
    assert loaded.dtype == "8-bit"
    logits = np.array(loaded.model(TOKENS)[0].astype(mx.float32))
    np.testing.assert_allclose(logits, reference("llama", stored), atol=0.05)


def test_rope_factors_stretch_each_wavelength(tmp_path: Path) -> None:
    plain, scaled = tmp_path / "plain.gguf", tmp_path / "scaled.gguf"
    tensors = weights("llama")
    write_gguf(plain, tensors=tensors)
    factors = np.array([1, 1, 1, 1.5, 2, 4, 8, 8], np.float32)
    write_gguf(scaled, tensors={**tensors, "rope_freqs.weight": factors})
    model = load_model(str(scaled), dtype="float32").model
    frequencies = np.array(model.layers[0].self_attn.rope._freqs)
    expected = 10_000.0 ** (np.arange(8) / 8) * factors
    np.testing.assert_allclose(frequencies, expected, rtol=1e-5)
    # A factor of 1 everywhere is no scaling at all.
    write_gguf(scaled, tensors={**tensors, "rope_freqs.weight": np.ones(8, np.float32)})
    ones = load_model(str(scaled), dtype="float32").model(TOKENS)
    assert mx.allclose(
        ones, load_model(str(plain), dtype="float32").model(TOKENS), atol=1e-4
    ).item()
    with pytest.raises(LoadError, match="rope_freqs"):
        write_gguf(scaled, tensors={**tensors, "rope_freqs.weight": np.ones(3, np.float32)})
        load_model(str(scaled))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"llama.expert_count": 8}, "experts"),
        ({"llama.rope.scaling.type": "longrope"}, "'longrope'"),
        ({"llama.rope.scaling.type": "yarn"}, "original_context_length"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    tmp_path: Path, extra: dict[str, Any], message: str
) -> None:
    write_gguf(tmp_path / "m.gguf", extra=extra)
    with pytest.raises(LoadError, match=message):
        load_model(str(tmp_path / "m.gguf"))


def test_unknown_architecture_is_refused_by_name(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "mamba")
    with pytest.raises(LoadError, match=r"'mamba'.*known: llama"):
        load_model(str(tmp_path / "m.gguf"))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("blk.1.ffn_up.weight"),
        lambda t: t.update({"blk.0.attn_q.weight": np.ones((8, 64), np.float32)}),
        lambda t: t.update({"blk.7.attn_q.weight": np.ones((64, 64), np.float32)}),
        lambda t: t.update({"blk.0.surprise.weight": np.ones((64, 64), np.float32)}),
        lambda t: t.pop("token_embd.weight"),
    ],
    ids=["missing", "shape", "block", "name", "embedding"],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, change: Any) -> None:
    tensors = weights("llama")
    change(tensors)
    write_gguf(tmp_path / "m.gguf", tensors=tensors)
    with pytest.raises(LoadError):
        load_model(str(tmp_path / "m.gguf"))


def test_smollm2_loads_with_progress_and_without_transformers() -> None:
    program = """
import resource, sys
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
from mlxforge.engine.loader import load_model
seen = []
loaded = load_model("smollm2-135m-instruct", progress=seen.append)
assert loaded.vocab_size == 49152 and loaded.max_model_len == 8192, loaded
assert loaded.architecture == "llama" and loaded.tokenizer.has_chat_template
assert seen and seen[-1].done == seen[-1].total and all(p.phase == "weights" for p in seen)
assert [p.done for p in seen] == sorted(p.done for p in seen)
assert "transformers" not in sys.modules and "llm" not in sys.modules
assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit
import mlx.core as mx
ids = loaded.tokenizer.encode("The capital of France is")
logits = loaded.model(mx.array([ids]))[0, -1]
assert loaded.tokenizer.token_text(int(mx.argmax(logits).item())) == " Paris"
import mlx_lm
assert callable(mlx_lm.load) and mlx_lm.__version__  # the package itself is whole
assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_what_progress_raises_ends_the_load(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def progress(_: Progress) -> None:
        raise Stop

    write_gguf(tmp_path / "m.gguf")
    with pytest.raises(Stop):
        load_model(str(tmp_path / "m.gguf"), progress=progress)


def test_unknown_dtype_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    with pytest.raises(LoadError, match="int8"):
        load_model(str(tmp_path / "m.gguf"), dtype="int8")
    assert load_model(str(tmp_path / "m.gguf"), dtype="bfloat16").dtype == "bfloat16"
