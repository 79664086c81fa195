"""From a request to sequences: prompt tokens, limits, defaults, grammar.

Runs on the engine's helper threads, never on the MLX thread: tokenizing a long prompt or
compiling a grammar holds up nobody's tokens. What is wrong is said with the field's path.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from .config import EngineConfig
from .conversation import Conversation, converse
from .errors import FieldViolation, InvalidRequest, Unavailable, Unsupported
from .grammar import Grammar, GrammarCompiler
from .loader import LoadedModel
from .request import GenerationRequest, SamplingParams
from .sequence import Group, Sampling, Sequence
from .text import TextStream
from .tools import ModelFormat

log = logging.getLogger(__name__)

# Tokens of the prompt's end that may hold the mark of open thinking.
_TAIL = 16


class Preparer:
    """Builds sequences for one model. Thread-safe.

    ``check`` refuses what could never fit in memory, given prompt tokens, new tokens and n;
    ``longest`` says how many new tokens could, given prompt tokens, n and a limit.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: EngineConfig,
        check: Callable[[int, int, int], None],
        longest: Callable[[int, int, int], int],
    ) -> None:
        self.loaded = loaded
        self.tokenizer = loaded.tokenizer
        self.max_n = min(config.max_n, config.max_running_requests)
        self.max_model_len = min(loaded.max_model_len, config.max_model_len or loaded.max_model_len)
        self.max_tokens = min(self.max_model_len, config.max_tokens or self.max_model_len)
        self._check = check
        self._longest = longest
        self._grammar_lock = threading.Lock()
        self._grammar_compiler: GrammarCompiler | None = None
        self._closed = False

    @property
    def _grammars(self) -> GrammarCompiler:
        """Made at the first constraint, or by ``warm_up`` before it."""
        with self._grammar_lock:
            if self._closed:
                raise Unavailable("the model is going away")
            if self._grammar_compiler is None:
                loaded = self.loaded
                self._grammar_compiler = GrammarCompiler(
                    loaded.tokenizer, loaded.vocab_size, loaded.eos_token_ids
                )
            return self._grammar_compiler

    def warm_up(self) -> None:
        """Start what compiles constraints, so that the first one does not wait for it.

        About half a second (a second for vocabularies of 128,000), 15 MB in this process and
        50 MB in the helper's. Never raises.
        """
        try:
            self._grammars  # noqa: B018 - is made by being asked for
        except Exception:
            log.exception("constraints cannot be compiled")

    @cached_property
    def format(self) -> ModelFormat:
        """How the model marks reasoning and tool calls."""
        return ModelFormat.detect(self.tokenizer, self.loaded.config)

    def fill(self, group: Group) -> None:
        """Give ``group`` its sequences. Raises InvalidRequest and the like."""
        request = group.request
        self._check_model_limits(request)
        talk = self._conversation(request)
        prompt = self._prompt(request, talk)
        max_tokens = self._max_tokens(request, len(prompt))
        grammar = self._grammar(request, talk)
        form = self.format
        tail = self._tail(prompt) if talk is not None else ""
        seed = request.sampling_params.seed
        if seed is None:
            seed = secrets.randbits(64)
        for index in range(request.n):
            text = self._text_stream(request, talk, tail)
            # Where thinking is off or open already, the model must not open it (again).
            may_think = request.reasoning_enabled is not False and not text.in_reasoning
            lead_in = form.lead_in_ids if may_think else frozenset()
            group.sequences.append(
                Sequence(
                    group=group,
                    index=index,
                    prompt=prompt,
                    sampling=self._sampling(request, (seed + index) % 2**64),
                    max_tokens=max_tokens,
                    min_tokens=request.min_tokens,
                    end_ids=frozenset() if request.ignore_eos else self.loaded.eos_token_ids,
                    stop_ids=frozenset(request.stop_token_ids),
                    text=text,
                    grammar=grammar.start(lead_in) if grammar is not None else None,
                    reasoning_budget=request.reasoning_max_tokens if form.reasons else None,
                    reasoning_end=form.reasoning_end_ids,
                    salt=request.cache_salt,
                    keeps_output=talk is not None,
                )
            )

    def close(self) -> None:
        """End the helper process of the grammars, if there is one."""
        with self._grammar_lock:
            self._closed = True
            if self._grammar_compiler is not None:
                self._grammar_compiler.close()

    def check_ids(self, field: str, ids: Iterable[int]) -> None:
        """Refuse ids that the model's logits have no place for."""
        violation = self._outside(field, ids)
        if violation is not None:
            raise InvalidRequest(violation)

    def _outside(self, field: str, ids: Iterable[int]) -> FieldViolation | None:
        width = self.loaded.vocab_size
        for place, token in enumerate(ids):
            if not 0 <= token < width:
                return FieldViolation(f"{field}[{place}]", f"{token} is no token id below {width}")
        return None

    def _check_model_limits(self, request: GenerationRequest) -> None:
        violations = [
            self._outside("prompt_token_ids.ids", request.prompt_token_ids or ()),
            self._outside("stop_token_ids", request.stop_token_ids),
            self._outside("sampling_params.logit_bias", request.sampling_params.logit_bias),
        ]
        if request.n > self.max_n:
            violations.append(FieldViolation("n", f"at most {self.max_n} here"))
        found = [violation for violation in violations if violation is not None]
        if found:
            raise InvalidRequest(*found)

    def _conversation(self, request: GenerationRequest) -> Conversation | None:
        if request.chat is None:
            return None
        if not self.tokenizer.has_chat_template:
            raise Unsupported(
                "the model has no chat template; send `prompt` instead of `chat`",
                reason="NO_CHAT_TEMPLATE",
            )
        return converse(request.chat, request, self.tokenizer, self.format)

    def _grammar(self, request: GenerationRequest, talk: Conversation | None) -> Grammar | None:
        if talk is not None and talk.forced is not None:
            return self._grammars.compile(talk.forced.template, talk.forced.token_ids)
        if request.constraint is not None:
            return self._grammars.compile(request.constraint)
        return None

    def _tail(self, prompt: list[int]) -> str:
        """The end of a rendered prompt, by which a parser sees whether thinking is open."""
        return self.tokenizer.decode(prompt[-_TAIL:], skip_special_tokens=False)

    def _text_stream(
        self, request: GenerationRequest, talk: Conversation | None, tail: str
    ) -> TextStream:
        if talk is None:
            return TextStream(self.tokenizer, request.stop)
        syntax = talk.forced.syntax if talk.forced is not None else None
        parser = self.format.parser(talk.tools, prompt_tail=tail, syntax=syntax)
        shown = self.format.mark_ids if parser is not None else frozenset()
        return TextStream(self.tokenizer, request.stop, parser, opens_turn=True, shown=shown)

    def _prompt(self, request: GenerationRequest, talk: Conversation | None) -> list[int]:
        if talk is not None:
            field = "chat"
            prompt = self.tokenizer.render_chat(talk.chat)
        elif request.prompt_token_ids is not None:
            field, prompt = "prompt_token_ids", list(request.prompt_token_ids)
        else:
            field = "prompt"
            prompt = self.tokenizer.encode(
                request.prompt or "", add_special_tokens=request.add_special_tokens
            )
        if not prompt:
            raise InvalidRequest.of(field, "is empty")
        if len(prompt) >= self.max_model_len:
            raise InvalidRequest.of(
                field,
                f"has {len(prompt)} tokens; the model takes {self.max_model_len} for prompt and "
                "answer together",
            )
        return prompt

    def _max_tokens(self, request: GenerationRequest, prompt: int) -> int:
        room = self.max_model_len - prompt
        if request.max_tokens is None:
            return max(1, self._longest(prompt, request.n, min(room, self.max_tokens)))
        if request.max_tokens > self.max_tokens:
            raise InvalidRequest.of("max_tokens", f"at most {self.max_tokens} here")
        if request.max_tokens > room:
            raise InvalidRequest.of(
                "max_tokens",
                f"{request.max_tokens} after a prompt of {prompt} tokens is more than the model's "
                f"{self.max_model_len}; at most {room} are left",
            )
        self._check(prompt, request.max_tokens, request.n)
        return request.max_tokens

    def _sampling(self, request: GenerationRequest, seed: int) -> Sampling:
        params = request.sampling_params
        return Sampling(
            temperature=float(self._value(params, "temperature", 1.0)),
            top_p=float(self._value(params, "top_p", 1.0)),
            top_k=int(self._value(params, "top_k", 0)),
            min_p=float(self._value(params, "min_p", 0.0)),
            seed=seed,
            repetition_penalty=float(self._value(params, "repetition_penalty", 1.0)),
            presence_penalty=float(self._value(params, "presence_penalty", 0.0)),
            frequency_penalty=float(self._value(params, "frequency_penalty", 0.0)),
            logit_bias=tuple(params.logit_bias.items()),
            logprobs=request.logprobs,
        )

    def _value(self, params: SamplingParams, name: str, default: float) -> Any:
        """The request's value, else the model's own, else the schema's default."""
        asked = getattr(params, name)
        if asked is not None:
            return asked
        own = self.loaded.generation_config.get(name)
        return default if own is None else own
