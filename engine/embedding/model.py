"""A model that embeds: token vectors, pooling, the stages after it and its limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlx.core as mx
import numpy as np
import tokenizers
from numpy.typing import NDArray

from ..errors import FieldViolation, InvalidRequest, LoadError, Unsupported
from ..request import EmbeddingRequest, Pooling
from .bert import build_bert
from .decoder import DecoderBackbone, find_backbone
from .inputs import InputEncoder
from .modernbert import build_modernbert
from .pooling import Dense, finish, load_dense, pool, pooling_spans
from .settings import EmbeddingSettings, read_object, read_settings

if TYPE_CHECKING:
    from ..loader import LoadedModel


class Backbone(Protocol):
    """What gives token vectors."""

    dimensions: int
    max_length: int
    vocab_size: int

    def __call__(self, tokens: mx.array, lengths: mx.array | None = None) -> mx.array:
        """Vectors (B, L, D) of right-padded tokens (B, L); ``lengths`` None: no padding."""
        ...


EncoderBuilder = Callable[[Mapping[str, Any], Mapping[str, mx.array]], Backbone]

# Encoder families by ``model_type`` of config.json.
ENCODERS: dict[str, EncoderBuilder] = {
    "bert": build_bert,
    "roberta": build_bert,
    "xlm-roberta": build_bert,
    "camembert": build_bert,
    "distilbert": build_bert,
    "modernbert": build_modernbert,
}


@dataclass(frozen=True, slots=True)
class RowSettings:
    """How the rows of one request are pooled, cut and scaled."""

    pooling: Pooling
    dimensions: int
    normalize: bool
    prompt_length: int = 0

    def table(self, lengths: NDArray[np.int32]) -> NDArray[np.int32]:
        """Span start, span stop, dimensions and normalize of rows, (N, 4), of lengths (N,)."""
        starts, stops = pooling_spans(self.pooling, lengths, self.prompt_length)
        constant = np.ones_like(lengths)
        columns = (starts, stops, constant * self.dimensions, constant * self.normalize)
        return np.stack(columns, axis=1)


# Token ids of some inputs, and how all of them are pooled.
RowGroup = tuple[Sequence[NDArray[np.int32]], RowSettings]


class EmbeddingModel:
    """Token ids in, vectors out. ``embed`` belongs to the thread that owns MLX."""

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: tokenizers.Tokenizer,
        settings: EmbeddingSettings,
        *,
        dense: Sequence[Dense] = (),
        end_token: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.dense = tuple(dense)
        self.dimensions = self.dense[-1].weight.shape[0] if dense else backbone.dimensions
        self.max_length = min(settings.max_length or backbone.max_length, backbone.max_length)
        self.inputs = InputEncoder(
            tokenizer,
            max_length=self.max_length,
            vocab_size=backbone.vocab_size,
            end_token=end_token,
            lower_case=settings.lower_case,
        )

    def rows(self, request: EmbeddingRequest) -> tuple[RowSettings, str]:
        """The settings of a request's rows and the prompt before its texts.

        Raises ``InvalidRequest`` for dimensions above the model's.
        """
        dimensions = request.dimensions or self.dimensions
        if dimensions > self.dimensions:
            raise InvalidRequest(
                FieldViolation(
                    "dimensions",
                    f"must be at most the model's {self.dimensions}, not {dimensions}",
                )
            )
        pooling = request.pooling or self.settings.pooling
        prompt = self.settings.prompt(request.instruction)
        left_out = 0
        if prompt and not self.settings.include_prompt:
            left_out = self.inputs.prompt_length(prompt)
        return RowSettings(pooling, dimensions, request.normalize, left_out), prompt

    def embed(self, groups: Sequence[RowGroup], *, width: int = 0, height: int = 0) -> mx.array:
        """Vectors (height, D), f32 and not yet computed, of the groups' rows in order.

        The batch is padded to at least ``width`` tokens and ``height`` rows, so that few
        shapes occur.
        """
        tokens, lengths, table = lay_out(groups, width, height)
        padded = bool((lengths != tokens.shape[1]).any())
        hidden = self.backbone(mx.array(tokens), mx.array(lengths) if padded else None)
        settings = mx.array(table)
        vectors = pool(hidden, settings[:, :2])
        for stage in self.dense:
            vectors = stage(vectors)
        return finish(vectors, settings[:, 2], settings[:, 3] > 0)


def lay_out(
    groups: Sequence[RowGroup], width: int, height: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Tokens (height, width), lengths (height,) and the rows' settings (height, 4).

    Rows past the inputs are of full length, so that they alone never call for a mask.
    """
    ids = [item for group, _ in groups for item in group]
    sizes = np.array([item.size for item in ids], np.int32)
    width, height = max(width, int(sizes.max())), max(height, len(ids))
    lengths = np.full(height, width, np.int32)
    lengths[: len(ids)] = sizes
    tokens = np.zeros((height, width), np.int32)
    tokens[: len(ids)][np.arange(width) < sizes[:, None]] = np.concatenate(ids)
    table = np.tile(np.array([0, 1, 0, 0], np.int32), (height, 1))
    row = 0
    for group, settings in groups:
        table[row : row + len(group)] = settings.table(sizes[row : row + len(group)])
        row += len(group)
    return tokens, lengths, table


def build_encoder(config: Mapping[str, Any], weights: Mapping[str, mx.array]) -> Backbone:
    """The encoder that ``config`` describes, with its weights. Raises ``LoadError``."""
    kind = str(config.get("model_type"))
    if kind not in ENCODERS:
        raise LoadError(f"{kind!r} is not a known encoder; known: {', '.join(sorted(ENCODERS))}")
    quantization = config.get("quantization")
    return ENCODERS[kind](config, dequantized(weights, quantization) if quantization else weights)


def dequantized(
    weights: Mapping[str, mx.array], quantization: Mapping[str, Any]
) -> dict[str, mx.array]:
    """Weights with MLX-quantized ones expanded: encoders are small, and bound by compute."""
    group, bits = int(quantization["group_size"]), int(quantization["bits"])
    whole: dict[str, mx.array] = {}
    for name, array in weights.items():
        stem = name.removesuffix(".weight")
        if name.endswith((".scales", ".biases")):
            continue
        scales = weights.get(f"{stem}.scales") if stem != name else None
        if scales is not None:
            array = mx.dequantize(array, scales, weights[f"{stem}.biases"], group, bits)
        whole[name] = array
    return whole


def embedding_model(
    loaded: LoadedModel, forward: Callable[[mx.array], mx.array] | None = None
) -> EmbeddingModel:
    """A loaded model as an embedder. Raises ``LoadError`` and ``Unsupported``.

    ``forward`` gives a decoder's token vectors (B, L, D), after its final norm, of tokens
    (B, L); None takes the backbone of its mlx-lm class.
    """
    folder = loaded.path if loaded.path.is_dir() else None
    # The library's own object: it tokenizes many texts at once, in parallel.
    tokenizer = loaded.tokenizer.backend
    if folder is not None and loaded.architecture in ENCODERS:
        return encoder_model(loaded.model, tokenizer, folder)
    if loaded.config.get("use_bidirectional_attention"):
        # EmbeddingGemma: as a plain decoder it would give vectors, and they would be wrong.
        raise Unsupported(
            f"{loaded.architecture} with bidirectional attention is not supported",
            reason="CANNOT_EMBED",
        )
    return decoder_model(
        forward or find_backbone(loaded.model),
        tokenizer,
        folder,
        max_length=loaded.max_model_len,
        vocab_size=loaded.vocab_size,
        end_token=_end_token(loaded, folder),
    )


def encoder_model(
    backbone: Backbone, tokenizer: tokenizers.Tokenizer, folder: Path
) -> EmbeddingModel:
    """An encoder in ``folder`` as an embedder. Raises ``LoadError``."""
    settings = read_settings(folder, decoder=False)
    settings = replace(settings, max_length=settings.max_length or tokenizer_limit(folder))
    dense = load_dense(settings.dense, backbone.dimensions)
    return EmbeddingModel(backbone, tokenizer, settings, dense=dense)


def decoder_model(
    forward: Callable[[mx.array], mx.array],
    tokenizer: tokenizers.Tokenizer,
    folder: Path | None,
    *,
    max_length: int,
    vocab_size: int,
    end_token: int | None,
) -> EmbeddingModel:
    """A language model as an embedder; ``forward`` as in ``embedding_model``.

    ``end_token`` is put after texts unless the folder is an embedding model's, whose tokenizer
    is complete, or the tokenizer's own template ends texts. Raises ``LoadError`` and
    ``Unsupported``.
    """
    backbone = DecoderBackbone(forward, max_length=max_length, vocab_size=vocab_size)
    settings = read_settings(folder, decoder=True)
    dense = load_dense(settings.dense, backbone.dimensions)
    if settings.declared or ends_texts(tokenizer):
        end_token = None
    return EmbeddingModel(backbone, tokenizer, settings, dense=dense, end_token=end_token)


def _end_token(loaded: LoadedModel, folder: Path | None) -> int | None:
    """What ends a text: Qwen's models end texts in the padding token, others in their eos."""
    names = read_object(folder / "tokenizer_config.json") if folder else {}
    qwen = loaded.architecture.startswith("qwen")
    name = names.get("pad_token" if qwen else "eos_token")
    if isinstance(name, dict):  # an added token, written out
        name = name.get("content")
    found = loaded.tokenizer.backend.token_to_id(name) if name else None
    return min(loaded.eos_token_ids, default=None) if found is None else found


def ends_texts(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether the tokenizer's template puts a special token after a text."""
    mask = tokenizer.encode("a").special_tokens_mask
    return bool(mask and mask[-1])


def tokenizer_limit(folder: Path) -> int | None:
    """``model_max_length`` of tokenizer_config.json, None where it is absent or unbounded."""
    limit = read_object(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < 2**31 else None
