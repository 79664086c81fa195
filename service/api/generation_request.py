"""Requests to generate: schema to engine."""

from __future__ import annotations

import hashlib

from mlxforge.engine.errors import FieldViolation
from mlxforge.engine.limits import Limits
from mlxforge.engine.request import (
    Constraint,
    ConstraintKind,
    GenerationRequest,
    SamplingParams,
)
from mlxforge.engine.validation import generation_violations, raise_if_any
from mlxforge.v1 import generation_pb2, sampling_pb2

from .chat import chat_of
from .context import CallContext


def request_of(
    message: generation_pb2.GenerateRequest, context: CallContext, limits: Limits
) -> GenerationRequest:
    """The engine's request, checked. Raises ``InvalidRequest`` naming every bad field."""
    violations: list[FieldViolation] = []
    source = message.WhichOneof("input")
    reasoning = message.reasoning_params
    request = GenerationRequest(
        request_id=context.engine_id,
        prompt=message.prompt if source == "prompt" else None,
        prompt_token_ids=(
            tuple(message.prompt_token_ids.ids) if source == "prompt_token_ids" else None
        ),
        chat=chat_of(message.chat, violations) if source == "chat" else None,
        sampling_params=_sampling_params_of(message.sampling_params),
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        min_tokens=message.min_tokens,
        stop=tuple(message.stop),
        stop_token_ids=tuple(message.stop_token_ids),
        ignore_eos=message.ignore_eos,
        constraint=_constraint_of(message, violations),
        logprobs=message.logprobs if message.HasField("logprobs") else None,
        n=message.n if message.HasField("n") else 1,
        cache_salt=_cache_salt_of(message, context, limits, violations),
        add_special_tokens=(
            message.add_special_tokens if message.HasField("add_special_tokens") else True
        ),
        reasoning_enabled=reasoning.enabled if reasoning.HasField("enabled") else None,
        reasoning_max_tokens=reasoning.max_tokens if reasoning.HasField("max_tokens") else None,
        deadline=context.deadline,
    )
    raise_if_any([*violations, *generation_violations(request, limits)])
    return request


def _cache_salt_of(
    message: generation_pb2.GenerateRequest,
    context: CallContext,
    limits: Limits,
    violations: list[FieldViolation],
) -> str:
    """The salt of the caller's own cached prefixes: how fast one is tells nobody else
    (CVE-2025-46570).
    """
    salt = message.cache_salt
    if not context.tenant:
        return salt
    if len(salt) > limits.max_cache_salt_chars:
        description = f"must have at most {limits.max_cache_salt_chars} characters"
        violations.append(FieldViolation("cache_salt", description))
    own = f"{context.tenant}\0{salt}"
    return hashlib.sha256(own.encode(errors="surrogatepass")).hexdigest()


def _sampling_params_of(message: sampling_pb2.SamplingParams) -> SamplingParams:
    # Every scalar is `optional`: ListFields has those that were set, zeros too.
    scalars = {
        field.name: value for field, value in message.ListFields() if field.name != "logit_bias"
    }
    return SamplingParams(**scalars, logit_bias=dict(message.logit_bias))


def _constraint_of(
    message: generation_pb2.GenerateRequest, violations: list[FieldViolation]
) -> Constraint | None:
    match message.WhichOneof("constraint"):
        case None:
            return None
        case "json_object":
            if not message.json_object:
                violations.append(FieldViolation("json_object", "must be true when set"))
            return Constraint(ConstraintKind.JSON_OBJECT)
        case "choice":
            return Constraint(ConstraintKind.CHOICE, choices=tuple(message.choice.values))
        case name:
            return Constraint(ConstraintKind(name), source=getattr(message, name))
