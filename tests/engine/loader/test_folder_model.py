"""Models from Hugging Face and MLX folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import pytest

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import Progress, load_model, register_encoder
from mlxforge.engine.loader.folder import MAX_JSON
from mlxforge.engine.request import Chat, Message

from .folders import CONFIG, write_folder, write_tokenizer

TOKENS = mx.array([[1, 5, 9, 33, 250, 7]])


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, **changes}))


def test_full_precision(tmp_path: Path) -> None:
    model = write_folder(tmp_path / "m")
    seen: list[Progress] = []
    loaded = load_model(str(tmp_path / "m"), progress=seen.append)
    assert mx.allclose(loaded.model(TOKENS), model(TOKENS), atol=1e-5).item()
    assert loaded.vocab_size == 320
    assert loaded.tokenizer.vocab_size == 260
    assert loaded.max_model_len == 128
    assert loaded.architecture == "llama"
    assert seen[-1].done == seen[-1].total == loaded.weight_bytes
    assert loaded.path == tmp_path / "m"


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_is_expanded_on_the_cpu_and_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    from mlxforge.engine.loader import arrays

    model = write_folder(tmp_path / "m", bits=bits, dtype=mx.bfloat16)
    expanded = load_model(str(tmp_path / "m"))
    assert expanded.dtype == "float32"
    monkeypatch.setattr(arrays, "runs_on_cpu", lambda: False)
    kept = load_model(str(tmp_path / "m"))
    assert kept.dtype == f"{bits}-bit"
    assert kept.weight_bytes < expanded.weight_bytes / 3
    want = model(TOKENS).astype(mx.float32)
    assert mx.allclose(kept.model(TOKENS).astype(mx.float32), want, atol=1e-6).item()
    assert mx.allclose(expanded.model(TOKENS), want, atol=0.1).item()
    assert load_model(str(tmp_path / "m"), dtype="float16").dtype == "float16"


def test_bf16_stays_bf16_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlxforge.engine.loader import arrays

    write_folder(tmp_path / "m", dtype=mx.bfloat16)
    assert load_model(str(tmp_path / "m")).dtype == "float32"
    monkeypatch.setattr(arrays, "runs_on_cpu", lambda: False)
    assert load_model(str(tmp_path / "m")).dtype == "bfloat16"


def test_ends_of_all_settings_are_merged(tmp_path: Path) -> None:
    write_folder(tmp_path / "m")
    edit(tmp_path / "m/generation_config.json", eos_token_id=[256, 9999], temperature=0.5)
    loaded = load_model(str(tmp_path / "m"))
    # </s> of the tokenizer is 257, config.json says 258; 9999 is no id of this model.
    assert loaded.eos_token_ids == {256, 257, 258}
    assert loaded.generation_config["temperature"] == 0.5


def test_chat_template_files(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_folder(folder)
    chat = Chat((Message("user", "x <think> </s>"),))
    assert not load_model(str(folder)).tokenizer.has_chat_template
    write_tokenizer(folder, chat_template="A{{ messages[0].content }}")
    tokenizer = load_model(str(folder)).tokenizer
    assert tokenizer.decode(tokenizer.render_chat(chat)) == "Ax <think> </s>"
    named = [{"name": "default", "template": "B"}, {"name": "tool_use", "template": "{{ tools }}"}]
    write_tokenizer(folder, chat_template=named)
    tokenizer = load_model(str(folder)).tokenizer
    assert tokenizer.supports_tools
    assert tokenizer.decode(tokenizer.render_chat(chat)) == "B"
    (folder / "chat_template.jinja").write_text("C{{ bos_token }}<think>")
    tokenizer = load_model(str(folder)).tokenizer
    ids = tokenizer.render_chat(chat)
    assert ids[1:] == [256, 259]
    assert tokenizer.decode(ids) == "C<think>"  # the mark shows, the special token does not
    assert 259 not in tokenizer.encode("<think>")


def test_model_file_is_never_run(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_folder(folder, model_file="evil.py")
    (folder / "evil.py").write_text("import pathlib; pathlib.Path(__file__ + '.ran').touch()")
    with pytest.raises(LoadError, match="model_file"):
        load_model(str(folder))
    assert not (folder / "evil.py.ran").exists()


def test_cve_2026_27893_remote_code_is_never_run(tmp_path: Path) -> None:
    """auto_map asks transformers for code of the folder; nothing here answers."""
    folder = tmp_path / "m"
    write_folder(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})
    code = "import pathlib; pathlib.Path(__file__ + '.ran').touch()"
    (folder / "evil.py").write_text(code)
    (folder / "tokenization_evil.py").write_text(code)
    auto = {"AutoTokenizer": ["tokenization_evil.Tokenizer", None]}
    edit(folder / "tokenizer_config.json", auto_map=auto, tokenizer_class="Tokenizer")
    load_model(str(folder))
    (folder / "tokenizer.json").unlink()  # now transformers is asked
    with pytest.raises(LoadError, match="tokenizer"):
        load_model(str(folder))
    assert list(folder.glob("*.ran")) == []


@pytest.mark.parametrize(
    "model_type", ["made_up", "base", "cache", "../llama", "llama.sub", "", "os", "rope_utils"]
)
def test_unknown_architectures_are_refused_by_name(tmp_path: Path, model_type: str) -> None:
    write_folder(tmp_path / "m", model_type=model_type)
    with pytest.raises(LoadError, match="not supported") as caught:
        load_model(str(tmp_path / "m"))
    assert repr(model_type) in str(caught.value)


def test_shared_classes_are_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", model_type="mistral")
    assert load_model(str(tmp_path / "m")).architecture == "mistral"


def test_links_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    write_folder(folder)
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    for name in ("generation_config.json", "unused.txt"):
        (folder / name).symlink_to(secret)
        with pytest.raises(LoadError, match=f"{name} is a link"):
            load_model(str(folder))
        (folder / name).unlink()
    (folder / "sub").mkdir()
    (folder / "sub/link").symlink_to(tmp_path)
    with pytest.raises(LoadError, match="is a link"):
        load_model(str(folder))
    (folder / "sub/link").unlink()
    (folder / "inner.json").symlink_to("config.json")
    load_model(str(folder))
    # The folder itself may be reached by a link: whoever names it chose it.
    (tmp_path / "alias").symlink_to(folder)
    load_model(str(tmp_path / "alias"))


def test_cache_of_the_hub_links_to_its_blobs_only(tmp_path: Path) -> None:
    store = tmp_path / "models--a--b"
    write_folder(store / "blobs")
    snapshot = store / "snapshots/0123"
    snapshot.mkdir(parents=True)
    for path in (store / "blobs").iterdir():
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    load_model(str(snapshot))
    (tmp_path / "secret.json").write_text("{}")
    (snapshot / "generation_config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(LoadError, match="is a link"):
        load_model(str(snapshot))


def test_pipes_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "m")
    os.mkfifo(tmp_path / "m/generation_config.json")
    with pytest.raises(LoadError, match="no regular file"):
        load_model(str(tmp_path / "m"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "no JSON object"),
        ("config.json", "{}", "model_type"),
        ("config.json", '{"model_type": 5}', "model_type"),
        ("config.json", "[" * 100_000, "cannot be read"),
        ("config.json", " " * (MAX_JSON + 1), "larger"),
        ("config.json", json.dumps({**CONFIG, "num_hidden_layers": 10**9}), "num_hidden_layers"),
        ("config.json", json.dumps({**CONFIG, "hidden_size": 10**12}), "cannot be loaded"),
        ("config.json", json.dumps({**CONFIG, "hidden_size": "64"}), "cannot be loaded"),
        ("config.json", json.dumps({**CONFIG, "hidden_size": 32}), "cannot be loaded"),
        ("config.json", json.dumps({**CONFIG, "rope_scaling": {"type": "?"}}), "cannot be loaded"),
        ("config.json", json.dumps({**CONFIG, "num_attention_heads": 0}), "cannot be loaded"),
        ("config.json", json.dumps({**CONFIG, "quantization": 7}), "cannot be loaded"),
        ("generation_config.json", "nope", "generation_config.json"),
        ("tokenizer.json", "{}", "tokenizer.json"),
        ("tokenizer.json", '{"added_tokens": 5}', "tokenizer.json"),
        ("tokenizer.json", "\x00", "tokenizer.json"),
        ("tokenizer_config.json", "[1]", "tokenizer_config.json"),
        ("chat_template.jinja", "{% for %}", "chat template"),
        ("chat_template.jinja", "x" * (1 << 21), "chat_template.jinja"),
        ("model.safetensors", "\xff" * 64, "model.safetensors"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    write_folder(tmp_path / "m")
    (tmp_path / "m" / name).write_text(content, "latin-1")
    with pytest.raises(LoadError, match=message):
        load_model(str(tmp_path / "m"))


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "m")
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/pytorch_model.bin")
    with pytest.raises(LoadError, match="safetensors"):
        load_model(str(tmp_path / "m"))


def test_registered_encoders_are_built(tmp_path: Path) -> None:
    class Encoder(nn.Module):
        def __init__(self, weights: dict[str, mx.array]) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # mlx gives it no types
            self.weight = weights["model.embed_tokens.weight"]
            self.vocab_size, self.max_length = 320, 77

    register_encoder("my_encoder", lambda config, weights: Encoder(dict(weights)))
    write_folder(tmp_path / "m", model_type="my_encoder")
    loaded = load_model(str(tmp_path / "m"))
    assert (loaded.architecture, loaded.vocab_size, loaded.max_model_len) == ("my_encoder", 320, 77)


def test_packaged_encoder_loads() -> None:
    loaded = load_model("all-minilm-l6-v2")
    assert (loaded.architecture, loaded.vocab_size, loaded.max_model_len) == ("bert", 30522, 512)
    ids = loaded.tokenizer.encode("a [SEP] b")
    assert (ids[0], ids[-1], ids.count(102)) == (101, 102, 1)
