"""The process in which chat templates are rendered; started by ``template.TemplateRenderer``.

A template is a program from the model's folder. The immutable sandbox keeps it from objects
it has no business with; this process keeps it from time and memory: the kernel ends the
process when one render takes more processor time, or more memory, than it may.

It is run as a script and imports nothing of mlxforge, so that it starts in a few dozen
milliseconds. It speaks JSON, one value a line: the first line it reads is the set-up, each
further one a render; it answers each with one line.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from datetime import datetime
from typing import Any

MAX_NODES = 50_000
MAX_NUMBER = 1_000_000


class Refused(Exception):
    """What the template itself refused, by ``raise_exception``."""


class TooLarge(Exception):
    """The output is over its limit."""


def limit_process(memory: int) -> None:
    """Cap memory (bytes), and forbid what a render never needs: files and core dumps."""
    import resource

    # macOS takes RLIMIT_AS but does not keep to it (not run there): the time limit remains.
    # A host may have blocked or ignored the timer's signal; both are inherited.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for name, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(name, (value, value))


@contextlib.contextmanager
def limited_time(seconds: float) -> Any:
    """Have the kernel end the process after so much processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class Renderer:
    """The compiled templates of one model."""

    def __init__(self, templates: dict[str, str], max_output: int) -> None:
        self.environment = make_environment()
        self.environment.filters["tojson"] = self._tojson
        self.mark = ""
        self.max_output = max_output
        self.templates = {}
        self.variables: set[str] = set()
        self.literals: set[str] = set()
        for name, source in templates.items():
            self._inspect(source)
            self.templates[name] = self.environment.from_string(source)

    def _inspect(self, source: str) -> None:
        from jinja2 import meta, nodes

        tree = self.environment.parse(source)
        for count, node in enumerate(tree.find_all(nodes.Node)):
            if count >= MAX_NODES:
                raise ValueError(f"it has more than {MAX_NODES:,} parts")
            if isinstance(node, nodes.Pow):
                raise ValueError("it raises to a power")
            if isinstance(node, nodes.TemplateData):
                self.literals.add(node.data)
            if isinstance(node, nodes.Const):
                if isinstance(node.value, str):
                    self.literals.add(node.value)
                elif isinstance(node.value, int | float) and abs(node.value) > MAX_NUMBER:
                    raise ValueError(f"it holds the number {node.value:g}")
        self.variables |= meta.find_undeclared_variables(tree)

    def render(self, name: str, context: dict[str, Any], mark: str) -> str:
        """The text of a conversation."""
        self.mark = mark
        pieces: list[str] = []
        size = 0
        for piece in self.templates[name].generate(context):
            size += len(piece)
            if size > self.max_output:
                raise TooLarge(f"its output is over {self.max_output:,} characters")
            pieces.append(piece)
        return "".join(pieces)

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Jinja's own ``tojson`` escapes HTML; chat templates expect this one."""
        text = json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )
        if ensure_ascii and self.mark:
            text = text.replace(f"\\u{ord(self.mark):04x}", self.mark)
        return text

    def first_refused(self, name: str, context: dict[str, Any], mark: str) -> int:
        """Index of the message without which, and all after it, the template does not refuse."""
        messages = context["messages"]
        low, high = 0, len(messages)  # the prefix of ``high`` messages is refused
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.render(name, {**context, "messages": messages[:middle]}, mark)
                low = middle
            except Exception:
                high = middle
        return high - 1


def make_environment() -> Any:
    """The environment that Hugging Face's chat templates are written for."""
    from jinja2 import ext, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(ext.Extension):
        """``{% generation %}``: marks the assistant's part for training; rendered as it is."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's interface

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def raise_exception(message: object = "") -> None:
        raise Refused(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[Generation, ext.loopcontrols],
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    # Text generators that no chat template needs.
    del environment.globals["lipsum"]
    return environment


def answer_render(renderer: Renderer, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request to render."""
    name, context, mark = request["template"], request["context"], request["mark"]
    try:
        return {"text": renderer.render(name, context, mark)}
    except Refused as error:
        index = renderer.first_refused(name, context, mark)
        return {"error": str(error)[:500], "refused_message": index}
    except RecursionError:
        return {"error": "it calls itself too deep"}
    except MemoryError:
        return {"error": "it takes too much memory"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def main() -> None:
    """Serve renders until the input ends."""
    sys.path[:0] = sys.argv[1:]
    source, sink = sys.stdin.buffer, sys.stdout.buffer

    def send(answer: dict[str, Any]) -> None:
        line = json.dumps(answer, ensure_ascii=False)
        try:
            data = line.encode()
        except UnicodeEncodeError:
            data = json.dumps({"error": "its output holds half a character"}).encode()
        sink.write(data + b"\n")
        sink.flush()

    setup = json.loads(source.readline())
    limit_process(setup["memory"])
    with limited_time(setup["seconds"]):
        try:
            renderer = Renderer(setup["templates"], setup["max_output"])
        except Exception as error:
            send({"error": f"{type(error).__name__}: {error}"[:500]})
            return
        known = sorted(renderer.environment.globals)
    send(
        {
            "variables": sorted(renderer.variables),
            "literals": sorted(renderer.literals),
            "globals": known,
        }
    )
    for line in source:
        request = json.loads(line)
        with limited_time(setup["seconds"]):
            answer = answer_render(renderer, request)
        send(answer)


if __name__ == "__main__":
    main()
