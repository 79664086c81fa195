"""A grammar while it is built: rules and terminals, pruning, and its Lark text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from .errors import TooComplex

_MAX_RULES = 20_000
_MAX_TEXT = 4 * 2**20

# White space between JSON's tokens: one space, or a line break and its indentation. Bounded,
# so that a model cannot run away in it.
_SPACE = r"(?:\x20|\x0a\x20{0,24})?"
TERMINALS = {
    "OPEN_OBJECT": rf"/\{{{_SPACE}/",
    "CLOSE_OBJECT": rf"/{_SPACE}\}}/",
    "OPEN_ARRAY": rf"/\[{_SPACE}/",
    "CLOSE_ARRAY": rf"/{_SPACE}\]/",
    "COMMA": rf"/,{_SPACE}/",
    "COLON": r"/:\x20?/",
}


@dataclass(frozen=True, slots=True)
class Repeat:
    """A rule, ``low`` to ``high`` times (None: without bound)."""

    rule: str
    low: int
    high: int | None

    def text(self) -> str:
        """As Lark spells it."""
        if self.high is None:
            return f"{self.rule}{'*' if self.low == 0 else f'{{{self.low},}}'}"
        return f"{self.rule}{{{self.low},{self.high}}}"


Symbol = str | Repeat
Production = tuple[Symbol, ...]


class Rules:
    """Named rules (lower case) and terminals (upper case), all names beginning with ``prefix``."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.terminals = dict(TERMINALS)
        self._by_text: dict[str, str] = {}
        self._productions: dict[str, list[Production]] = {}
        self._raw: dict[str, str] = {}
        self._count = 0

    def name(self, kind: str) -> str:
        """A fresh rule name."""
        self._count += 1
        if self._count > _MAX_RULES:
            raise TooComplex(f"needs more than {_MAX_RULES} grammar rules")
        return f"{self._prefix}{kind}{self._count}"

    def add(self, name: str, productions: list[Production]) -> str:
        """Define a rule: one of ``productions``."""
        self._productions[name] = list(dict.fromkeys(productions))
        return name

    def add_raw(self, name: str, text: str) -> str:
        """Define a rule by its Lark text, taken to match something."""
        self._raw[name] = text
        return name

    def terminal(self, expression: str) -> str:
        """The terminal of a Lark expression."""
        name = self._by_text.get(expression)
        if name is None:
            name = f"{self._prefix.upper()}T{len(self._by_text)}"
            self._by_text[expression] = name
            self.terminals[name] = expression
        return name

    def lines(self, start: str) -> list[str] | None:
        """The rules and terminals below ``start``, dead ends removed; None: it has no text."""
        alive = self._alive()
        if start not in alive:
            return None
        kept = {
            name: [
                tuple(s for s in p if _target(s) in alive and not _is_void(s))
                for p in productions
                if all(_is_alive(s, alive) for s in p)
            ]
            for name, productions in self._productions.items()
            if name in alive
        }
        lines: list[str] = []
        used, todo = {start}, [start]
        while todo:
            name = todo.pop()
            if name in self.terminals:
                lines.append(f"{name}: {self.terminals[name]}")
                continue
            if name in self._raw:
                lines.append(self._raw[name])
                inner = {t for t in self.terminals if f" {t} " in self._raw[name]}
            else:
                texts = dict.fromkeys(map(_production_text, kept[name]))
                lines.append(f"{name}: {' | '.join(texts)}")
                inner = {_target(s) for p in kept[name] for s in p}
            todo += sorted(inner - used)
            used |= inner
        if sum(map(len, lines)) > _MAX_TEXT:
            raise TooComplex(f"needs a grammar of more than {_MAX_TEXT} characters")
        return lines

    def _alive(self) -> set[str]:
        """Rules and terminals that match something, found bottom-up."""
        alive = set(self.terminals) | set(self._raw)
        waiting: dict[str, list[tuple[str, Production]]] = {}
        todo: list[tuple[str, Production]] = [
            (name, production)
            for name, productions in self._productions.items()
            for production in productions
        ]
        while todo:
            name, production = todo.pop()
            if name in alive:
                continue
            missing = next((s for s in production if not _is_alive(s, alive)), None)
            if missing is not None:
                waiting.setdefault(_target(missing), []).append((name, production))
                continue
            alive.add(name)
            todo += waiting.pop(name, [])
        return alive


def _target(symbol: Symbol) -> str:
    return symbol if isinstance(symbol, str) else symbol.rule


def _is_void(symbol: Symbol) -> bool:
    return isinstance(symbol, Repeat) and symbol.high == 0


def _is_alive(symbol: Symbol, alive: set[str]) -> bool:
    if isinstance(symbol, Repeat) and symbol.low == 0:
        return True
    return _target(symbol) in alive


def _production_text(production: Production) -> str:
    parts = (s if isinstance(s, str) else s.text() for s in production)
    return " ".join(parts) or '""'


@cache
def _byte_tokenizer() -> LLTokenizer:
    return LLTokenizer("byte")


def matches_something(expression: str) -> bool:
    """Whether any text matches a terminal. Raises ``TooComplex`` when that is hard to say."""
    limits = LLParserLimits(verbose_errors=False)
    source = LLMatcher.grammar_from_lark(f"start: T\nT: {expression}\n")
    matcher = LLMatcher(_byte_tokenizer(), source, log_level=0, limits=limits)
    if matcher.is_error():
        message = matcher.get_error()
        if "fuel" in message or "complex" in message or "limit" in message:
            raise TooComplex("an expression of the schema is too complex")
        return False
    matcher.compute_bitmask()
    return not matcher.is_error()
