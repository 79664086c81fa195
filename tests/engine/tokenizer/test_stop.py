"""Stop strings in a stream of pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mlxforge.engine.tokenizer import StopMatcher

LETTERS = st.text(alphabet="ab<é", max_size=12)
STOPS = st.lists(st.text(alphabet="ab<é", min_size=1, max_size=5), max_size=5)


def naive(text: str, stops: list[str]) -> tuple[str, str | None]:
    """What a generator that looks at the whole text after each character would keep."""
    for end in range(1, len(text) + 1):
        matches = [stop for stop in stops if text[:end].endswith(stop)]
        if matches:
            stop = max(matches, key=len)
            return text[: end - len(stop)], stop
    return text, None


def run(pieces: list[str], stops: list[str]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    emitted = ""
    for piece in pieces:
        text, stop = matcher.feed(piece)
        emitted += text
        # At no time is more shown than the final text has: nothing leaks.
        assert naive("".join(pieces), stops)[0].startswith(emitted)
        if stop is not None:
            return emitted, stop
    return emitted + matcher.flush(), None


@settings(max_examples=600, deadline=None)
@given(st.lists(LETTERS, max_size=6), STOPS)
def test_equals_the_naive_matcher_however_the_text_is_cut(
    pieces: list[str], stops: list[str]
) -> None:
    assert run(pieces, stops) == naive("".join(pieces), stops)


@settings(max_examples=200, deadline=None)
@given(st.lists(LETTERS, max_size=6), STOPS)
def test_holds_back_no_more_than_needed(pieces: list[str], stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    held = ""
    for piece in pieces:
        text, stop = matcher.feed(piece)
        if stop is not None:
            return
        held = (held + piece)[len(text) :]
        suffixes = [s for s in stops if any(s[:n] == held for n in range(1, len(s)))]
        assert not held or suffixes, f"{held!r} begins none of {stops!r}"


def test_without_stops_passes_everything_on() -> None:
    matcher = StopMatcher([])
    assert matcher.feed("anything") == ("anything", None)
    assert matcher.flush() == ""


def test_match_across_pieces_is_not_leaked() -> None:
    matcher = StopMatcher(["###END"])
    assert matcher.feed("text ##") == ("text ", None)
    assert matcher.feed("#E") == ("", None)
    assert matcher.feed("ND tail") == ("", "###END")


def test_false_start_is_given_back() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert matcher.feed("a\n\nUse") == ("a", None)
    assert matcher.feed("ful") == ("\n\nUseful", None)
    assert matcher.feed("\n") == ("", None)
    assert matcher.flush() == "\n"


def test_of_stops_that_end_together_the_longest_wins() -> None:
    assert StopMatcher(["c", "bc", "abc"]).feed("xabc") == ("x", "abc")
