"""Fixed texts in llguidance's Lark: control tokens by number, all else by characters."""

from __future__ import annotations

from collections.abc import Mapping

from mlxforge.engine.grammar.lark import escape


class Marks:
    """Spells texts of one grammar. ``used``: the control tokens that it needs."""

    def __init__(self, token_ids: Mapping[str, int]) -> None:
        self._token_ids = {text: index for text, index in token_ids.items() if text}
        self.used: set[int] = set()

    def text(self, text: str) -> str:
        """Symbols that match exactly ``text``; nothing for an empty one."""
        symbols: list[str] = []
        while text:
            found = [(text.find(t), -len(t), t) for t in self._token_ids if t in text]
            at, _, token = min(found, default=(len(text), 0, ""))
            if at:
                symbols.append(f"/{escape(text[:at])}/")
            if token:
                self.used.add(self._token_ids[token])
                symbols.append(f"<[{self._token_ids[token]}]>")
            text = text[at + len(token) :]
        return " ".join(symbols)
