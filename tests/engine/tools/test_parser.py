"""Scripted outputs of every syntax and thinking format, in pieces of every size."""

from __future__ import annotations

import json

import pytest

from mlxforge.engine.request import Tool
from mlxforge.engine.tools import OutputParser, ParserEvent, ReasoningMarks
from mlxforge.engine.tools.harmony import HarmonyParser
from mlxforge.engine.tools.reasoning import find_marks
from mlxforge.engine.tools.syntax import SYNTAXES

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}
TOOLS = (Tool("get_weather", "", json.dumps(WEATHER)), Tool("f-2", "", ""))
THINK = ReasoningMarks("<think>", "</think>")
SIZES = (1, 2, 3, 5, 11, 10_000)

Calls = list[tuple[str, str]]


def collect(events: list[ParserEvent]) -> tuple[str, str, Calls]:
    """Text, reasoning and calls; checks ids, indices and that each event is one thing."""
    calls: list[list[str]] = []
    ids: set[str] = set()
    for event in events:
        assert sum((bool(event.text), bool(event.reasoning), event.tool_call is not None)) == 1
        delta = event.tool_call
        if delta is None:
            continue
        if delta.index == len(calls):
            assert delta.name and delta.id.startswith("call_") and len(delta.id) == 29
            ids.add(delta.id)
            calls.append([delta.name, ""])
        else:
            assert not delta.id and not delta.name
        calls[delta.index][1] += delta.arguments
    assert len(ids) == len(calls)
    text = "".join(event.text for event in events)
    reasoning = "".join(event.reasoning for event in events)
    return text, reasoning, [(name, arguments) for name, arguments in calls]


def run(parser: OutputParser | HarmonyParser, output: str, size: int) -> tuple[str, str, Calls]:
    events: list[ParserEvent] = []
    for start in range(0, len(output), size):
        events += parser.feed(output[start : start + size])
    return collect([*events, *parser.flush()])


CASES: list[tuple[str, str, str, Calls]] = [
    ("json_tools", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "P</tool_call>", '
     '"days": 3}}\n</tool_call>\n<tool_call>{"name":"f-2","arguments":{}}</tool_call>', "",
     [("get_weather", '{"city": "P</tool_call>", "days": 3}'), ("f-2", "{}")]),
    ("json_tools", 'Let me <see>.\n<tool_call>{"arguments": {"a": [1, {"b": "}"}]}, "name": "f-2"}'
     "</tool_call> Done.", "Let me <see>.\n Done.", [("f-2", '{"a": [1, {"b": "}"}]}')]),
    ("json_tools", '<tool_call>{"name": "f-2", "arguments": "{\\"a\\": 1}"}</tool_call>', "",
     [("f-2", '{"a": 1}')]),
    ("json_tools", '<tool_call>[{"name": "f-2", "arguments": {"a": 1}}]</tool_call>', "",
     [("f-2", '{"a": 1}')]),
    ("json_tools", "<tool_call>no call</tool_call> !", "<tool_call>no call</tool_call> !", []),
    ("json_tools", '<tool_call>{"name": "f-2", "arguments": {"a": 1', "",
     [("f-2", '{"a": 1')]),
    ("json_tools", "a < b <tool_cal", "a < b <tool_cal", []),
    ("mistral", '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "X]"}}, '
     '{"name": "f-2", "arguments": {}}]', "", [("get_weather", '{"city": "X]"}'), ("f-2", "{}")]),
    ("mistral", 'Hi [TOOL_CALLS]get_weather[ARGS]{"city": "a]}"}[TOOL_CALLS]f-2[CALL_ID]x1[ARGS]{}',
     "Hi ", [("get_weather", '{"city": "a]}"}'), ("f-2", "{}")]),
    ("llama3_json", '{"name": "get_weather", "parameters": {"city": "Y"}}', "",
     [("get_weather", '{"city": "Y"}')]),
    ("llama3_json", '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Y"}}; '
     '{"name": "f-2", "parameters": {}}', "", [("get_weather", '{"city": "Y"}'), ("f-2", "{}")]),
    ("llama3_json", '{"answer": 42} it is', '{"answer": 42} it is', []),
    ("llama3_json", 'Plain {"name"', 'Plain {"name"', []),
    ("bare_json", '{"name": "f-2", "arguments": {"q": "\\"}"}}', "", [("f-2", '{"q": "\\"}"}')]),
    ("pythonic", '<|tool_call_start|>[get_weather(city="Paris", days=2)]<|tool_call_end|>ok', "ok",
     [("get_weather", '{"city": "Paris", "days": 2}')]),
    ("gemma4", '<|tool_call>call:get_weather{city:<|"|>Par{is<|"|>,days:2}<tool_call|>', "",
     [("get_weather", '{"city": "Par{is", "days": 2}')]),
    ("function_gemma", "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:2}"
     "<end_function_call>", "", [("get_weather", '{"city": "Paris", "days": 2}')]),
    ("glm47", "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
     "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>", "",
     [("get_weather", '{"city": "Paris", "days": 2}')]),
    ("laguna", "<tool_call>get_weather<arg_key>days</arg_key><arg_value>2</arg_value></tool_call>",
     "", [("get_weather", '{"days": 2}')]),
    ("qwen3_coder", "Sure.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n"
     "</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>", "Sure.\n",
     [("get_weather", '{"city": "Paris", "days": 2}')]),
    ("kimi_k2", "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
     '<|tool_call_argument_begin|>{"city": "P"}<|tool_call_end|><|tool_call_begin|>functions.f-2:1'
     "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>", "",
     [("get_weather", '{"city": "P"}'), ("f-2", "{}")]),
    ("longcat", "<longcat_tool_call>get_weather\n<longcat_arg_key>city</longcat_arg_key>"
     "<longcat_arg_value>P</longcat_arg_value></longcat_tool_call>", "",
     [("get_weather", '{"city": "P"}')]),
    ("minicpm5", '<function name="get_weather"><param name="city">P</param>'
     '<param name="days">2</param></function>', "", [("get_weather", '{"city": "P", "days": 2}')]),
    ("minimax_m2", '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">P'
     '</parameter>\n<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>', "",
     [("get_weather", '{"city": "P", "days": 2}')]),
    ("muse_spark", '<atem:function_calls><atem:invoke name="get_weather">'
     '<atem:parameter name="city">P</atem:parameter></atem:invoke></atem:function_calls>', "",
     [("get_weather", '{"city": "P"}')]),
    ("kimi_k3", '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|>'
     '<|open|>argument key="city" type="string"<|sep|>Tokyo<|close|>argument<|sep|>'
     "<|close|>call<|sep|><|close|>tools<|sep|>", "", [("get_weather", '{"city": "Tokyo"}')]),
]  # fmt: skip


def test_every_syntax_has_a_case() -> None:
    assert {name for name, *_ in CASES} | {"harmony"} == set(SYNTAXES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("thinks", [False, True], ids=["plain", "thinks"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{abs(hash(case[1])) % 997}")
def test_syntaxes(case: tuple[str, str, str, Calls], thinks: bool, size: int) -> None:
    name, output, text, calls = case
    parser = OutputParser(THINK, SYNTAXES[name], TOOLS)
    before = "<think>\nFirst <b> then </b>.\n</think>\n\n" if thinks else ""
    found = run(parser, before + output, size)
    assert found == (text, "First <b> then </b>.\n" if thinks else "", calls)


def test_without_tools_calls_are_text() -> None:
    output = '<tool_call>{"name": "f-2", "arguments": {}}</tool_call>'
    assert run(OutputParser(THINK, SYNTAXES["json_tools"]), output, 3) == (output, "", [])


def test_arguments_come_as_they_are_written() -> None:
    parser = OutputParser(None, SYNTAXES["json_tools"], TOOLS)
    seen = [
        parser.feed(piece) for piece in ('<tool_call>{"name": "f-2", "argu', 'ments": {"a', '": 1')
    ]
    assert seen[0][0].tool_call is not None and seen[0][0].tool_call.name == "f-2"
    assert [e.tool_call.arguments for es in seen[1:] for e in es if e.tool_call] == ['{"a', '": 1']


MARKS = {
    "qwen3": (["<think>", "</think>"], ""),
    "longcat": (["<longcat_think>", "</longcat_think>"], ""),
    "minimax": (["<|think:start|>", "<|think:end|>"], ""),
    "seed": (["<seed:think>", "</seed:think>"], ""),
    "magistral": (["[THINK]", "[/THINK]"], ""),
    "template": ([], "{{ '<think>' }} ... {{ '</think>' }}"),
    "gemma4": (["<|channel>", "<channel|>"], ""),
    "kimi_k3": (["<|open|>", "<|close|>", "<|sep|>", "<|end_of_msg|>"], ""),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MARKS)
def test_thinking_formats(name: str, size: int) -> None:
    marks = find_marks(*MARKS[name])
    assert marks is not None
    output = f"{marks.start}\nI wonder.{marks.end}\n\nYes <b>."
    assert run(OutputParser(marks, None), output, size) == ("Yes <b>.", "I wonder.", [])
    opened = f"I wonder.{marks.end}Yes."
    parser = OutputParser(marks, None, in_reasoning=True)
    began = parser.in_reasoning
    assert began
    assert run(parser, opened, size) == ("Yes.", "I wonder.", [])
    assert not parser.in_reasoning
    assert run(OutputParser(marks, None), f"{marks.start}cut", size) == ("", "cut", [])
    assert marks.opened_by(f"<|im_start|>assistant\n{marks.start}\n")
    assert not marks.opened_by(f"{marks.start}\n\n{marks.end}\n\n")


def test_structural_marks_are_no_text() -> None:
    marks = find_marks(*MARKS["kimi_k3"])
    output = "<|open|>response<|sep|>Hi<|close|>response<|sep|><|close|>message<|sep|>"
    assert run(OutputParser(marks, None), output, 4) == ("Hi", "", [])


HARMONY = (
    "<|channel|>analysis<|message|>Hmm <b>.<|end|><|start|>assistant<|channel|>commentary "
    "<|message|>Looking.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
    '<|constrain|>json<|message|>{"city": "P"}<|call|>'
)


@pytest.mark.parametrize("size", SIZES)
def test_harmony(size: int) -> None:
    calls = [("get_weather", '{"city": "P"}')]
    assert run(HarmonyParser(), HARMONY, size) == ("Looking.", "Hmm <b>.", calls)
    final = (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>A<b"
    )
    assert run(HarmonyParser(), final, size) == ("A<b", "Hm", [])
