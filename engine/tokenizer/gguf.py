"""Tokenizers from the metadata of GGUF files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from ..errors import LoadError
from .marks import is_control
from .native import native_errors
from .spm import merges_from_scores
from .tokenizer import Tokenizer
from .vocabulary import Spelling

# Values of tokenizer.ggml.token_type.
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)

# Ends of a turn or text, whatever the metadata says: many files name only one of a model's
# ends, and llama.cpp stops at all of these too.
_ENDS = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>",
    "<end_of_turn>", "<|end_of_turn|>", "<eos>", "</s>",
}  # fmt: skip

_GPT2 = ""  # the regular expression built into ByteLevel
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

# tokenizer.ggml.pre -> (split digits one by one, regular expression). The expressions are
# those of each family's own tokenizer.json.
_PRE_TOKENIZERS: dict[str, tuple[bool, str]] = {
    "gpt-2": (False, _GPT2),
    "smollm": (True, _GPT2),
    "starcoder": (True, _GPT2),
    "refact": (True, _GPT2),
    "command-r": (True, _GPT2),
    "llama-bpe": (False, _LLAMA3),
    "dbrx": (False, _LLAMA3),
    "qwen2": (False, _QWEN2),
    "deepseek-r1-qwen": (False, _QWEN2),
    "stablelm2": (False, _QWEN2),
}
_NFC = {"qwen2", "deepseek-r1-qwen", "stablelm2"}
_IGNORES_MERGES = {"llama-bpe"}


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer. Raises ``LoadError`` for kinds that are not known."""
    tokens = _strings(metadata, "tokenizer.ggml.tokens")
    types = list(metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens))
    if len(types) != len(tokens) or len(set(tokens)) != len(tokens):
        raise LoadError("GGUF: the vocabulary is damaged (types missing or tokens twice)")
    kind = str(metadata.get("tokenizer.ggml.model", ""))
    if kind == "gpt2":
        backend, spelling = _byte_level(metadata, tokens), Spelling.BYTE_LEVEL
    elif kind == "llama":
        backend, spelling = _sentencepiece(metadata, tokens, types), Spelling.SENTENCEPIECE
    else:
        raise LoadError(f"GGUF: tokenizers of the kind {kind!r} are not supported")
    templates = _chat_templates(metadata)
    _add_tokens(backend, tokens, types, templates)
    bos = _token_id(metadata, "bos", tokens)
    eos = _token_id(metadata, "eos", tokens)
    _add_template(backend, metadata, tokens, bos, eos)
    ends = {eos, _token_id(metadata, "eot", tokens), _token_id(metadata, "eom", tokens)}
    ends.update(i for i, t in enumerate(tokens) if t in _ENDS and types[i] == _CONTROL)
    texts = {"bos_token": bos, "eos_token": eos}
    return Tokenizer(
        backend,
        spelling=spelling,
        special_token_ids=[i for i, type_ in enumerate(types) if type_ in (_UNKNOWN, _CONTROL)],
        eos_token_ids=[end for end in ends if end is not None],
        special_texts={name: tokens[id_] for name, id_ in texts.items() if id_ is not None},
        chat_templates=templates,
        strips_leading_space=kind == "llama" and _adds_space(metadata),
    )


def _chat_templates(metadata: Mapping[str, Any]) -> dict[str, str]:
    key = "tokenizer.chat_template"
    named = {
        name.removeprefix(f"{key}."): source
        for name, source in metadata.items()
        if name.startswith(f"{key}.") and isinstance(source, str)
    }
    return {"default": str(metadata[key]), **named} if key in metadata else {}


def _strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    values = metadata.get(key)
    if not isinstance(values, Sequence) or not all(isinstance(v, str) for v in values):
        raise LoadError(f"GGUF: {key} is missing or no list of strings")
    return list(values)


def _token_id(metadata: Mapping[str, Any], name: str, tokens: Sequence[str]) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < len(tokens):
        raise LoadError(f"GGUF: the {name} token {value!r} is not in the vocabulary")
    return value


def _byte_level(metadata: Mapping[str, Any], tokens: Sequence[str]) -> tokenizers.Tokenizer:
    pre = str(metadata.get("tokenizer.ggml.pre", "gpt-2"))
    if pre not in _PRE_TOKENIZERS:
        raise LoadError(f"GGUF: the pre-tokenizer {pre!r} is not supported")
    pairs = (merge.partition(" ") for merge in _strings(metadata, "tokenizer.ggml.merges"))
    merges = [(left, right) for left, _, right in pairs]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    with native_errors(_unfit_merges):
        model = models.BPE(vocabulary, merges, ignore_merges=pre in _IGNORES_MERGES)
    backend = tokenizers.Tokenizer(model)
    digits, pattern = _PRE_TOKENIZERS[pre]
    steps: list[Any] = []
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if pattern:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if pre in _NFC:
        backend.normalizer = normalizers.NFC()
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentencepiece(
    metadata: Mapping[str, Any], tokens: Sequence[str], types: Sequence[int]
) -> tokenizers.Tokenizer:
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise LoadError("GGUF: tokenizer.ggml.scores is missing or too short")
    pieces = {
        token: float(score)
        for token, type_, score in zip(tokens, types, scores, strict=True)
        if type_ in (_NORMAL, _USER_DEFINED) and token
    }
    unknown = _token_id(metadata, "unknown", tokens)
    with native_errors(_unfit_merges):
        model = models.BPE(
            {token: index for index, token in enumerate(tokens)},
            merges_from_scores(pieces),
            unk_token=None if unknown is None else tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    backend = tokenizers.Tokenizer(model)
    steps: list[Any] = [normalizers.Prepend("▁")] if _adds_space(metadata) else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


def _unfit_merges(detail: str) -> LoadError:
    return LoadError(f"GGUF: the merges do not fit the vocabulary: {detail}")


def _adds_space(metadata: Mapping[str, Any]) -> bool:
    return bool(metadata.get("tokenizer.ggml.add_space_prefix", True))


def _add_tokens(
    backend: tokenizers.Tokenizer,
    tokens: Sequence[str],
    types: Sequence[int],
    templates: Mapping[str, str],
) -> None:
    added = []
    for token, type_ in zip(tokens, types, strict=True):
        if token and type_ in (_CONTROL, _USER_DEFINED):
            control = type_ == _CONTROL or is_control(token, templates.values())
            added.append(tokenizers.AddedToken(token, special=control, normalized=False))
    backend.add_tokens(added)


def _add_template(
    backend: tokenizers.Tokenizer,
    metadata: Mapping[str, Any],
    tokens: Sequence[str],
    bos: int | None,
    eos: int | None,
) -> None:
    """Opening and closing tokens, as the metadata asks for them."""
    default_bos = metadata.get("tokenizer.ggml.model") == "llama" or (
        metadata.get("tokenizer.ggml.pre") == "llama-bpe"
    )
    before = bos if metadata.get("tokenizer.ggml.add_bos_token", default_bos) else None
    after = eos if metadata.get("tokenizer.ggml.add_eos_token", False) else None
    if before is None and after is None:
        return
    single = [tokens[before]] if before is not None else []
    single += ["$A"] + ([tokens[after]] if after is not None else [])
    special = [(tokens[index], index) for index in (before, after) if index is not None]
    backend.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=sorted(set(special))
    )
