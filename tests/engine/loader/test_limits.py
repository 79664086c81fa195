"""Lengths and ends by a model's settings."""

from __future__ import annotations

from typing import Any

import pytest

from mlxforge.engine.loader.limits import UNBOUNDED, eos_ids, max_model_len


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 4096, "seq_length": 2048}, 2048),
        ({}, UNBOUNDED),
        ({"max_position_embeddings": None}, UNBOUNDED),
        ({"max_position_embeddings": 1e30}, UNBOUNDED),
        ({"text_config": {"max_position_embeddings": 512}}, 512),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4}}, 16384),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8,
                    "original_max_position_embeddings": 8192,
                },
            },
            131072,
        ),
        (
            {
                "max_position_embeddings": 163840,
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 40,
                    "original_max_position_embeddings": 4096,
                },
            },
            163840,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
            },
            131072,
        ),
        ({"max_position_embeddings": 64, "rope_scaling": None}, 64),
        (
            {
                "model_type": "gemma3_text",
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "linear", "factor": 8},
            },
            131072,
        ),
    ],
)
def test_max_model_len(config: dict[str, Any], expected: int) -> None:
    assert max_model_len(config) == expected


def test_eos_ids() -> None:
    assert eos_ids({"eos_token_id": 1}, {"eos_token_id": [2, 3]}) == {1, 2, 3}
    assert eos_ids({}, {"eos_token_id": None}) == set()
    assert eos_ids({"eos_token_id": [True, -1, "x", 4]}) == {4}
    assert eos_ids({"text_config": {"eos_token_id": 5}}) == {5}
