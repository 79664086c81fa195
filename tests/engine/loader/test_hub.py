"""Models from the Hugging Face hub: a loopback stand-in serves its API and files."""

from __future__ import annotations

import hashlib
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from mlxforge.engine.errors import LoadError
from mlxforge.engine.loader import Progress, load_model, resolve

from .folders import write_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """The parts of the hub's API that a download uses."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    requests: ClassVar[list[tuple[str, str, str | None]]] = []
    cut_after: ClassVar[int | None] = None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.requests.append((self.command, path, self.headers.get("Range")))
        if path.startswith(("/api/models/secret/", "/secret/")):
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif not path.startswith(("/api/models/owner/tiny", "/owner/tiny/resolve/")):
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("/api/"):
            self.api(path)
        else:
            self.file(path.split("/", 5)[5])

    def api(self, path: str) -> None:
        if "/tree/" in path:
            tree = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha256(data).hexdigest()[:40],
                }
                for name, data in self.files.items()
            ]
            body: object = tree
        else:
            siblings = [{"rfilename": name} for name in self.files]
            body = {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}
        self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def file(self, name: str) -> None:
        data = self.files[name]
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if start else 200, data[start:], headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = type(self).cut_after
        if cut is not None and len(body) > cut:
            self.wfile.write(body[:cut])
            self.close_connection = True  # in the middle of the file
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    write_folder(tmp_path / "source")
    Hub.files = {p.name: p.read_bytes() for p in sorted((tmp_path / "source").iterdir())}
    Hub.files |= {
        "modeling_evil.py": b"raise SystemExit",
        "pytorch_model.bin": b"\x80\x04pickle",
        "original/consolidated.safetensors": b"again",
        "chat_template.jinja": b"{{ messages[0].content }}",
        "1_Pooling/config.json": b"{}",
    }
    Hub.requests, Hub.cut_after = [], None
    server = Server(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Hub
    server.shutdown()
    server.server_close()


def test_download_load_and_offline(
    hub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    seen: list[Progress] = []
    folder = resolve("owner/tiny", seen.append)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "1_Pooling/config.json",
    }  # fmt: skip
    total = sum(len(hub.files[name]) for name in names)
    assert seen[-1] == Progress("download", total, total)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    loaded = load_model("owner/tiny")
    assert loaded.tokenizer.has_chat_template
    assert loaded.path == folder
    # With the network gone, what is in the cache still loads: our setting, then the variable.
    hub.requests.clear()
    assert resolve("owner/tiny", offline=True) == folder
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve("owner/tiny") == folder
    assert hub.requests == []
    with pytest.raises(LoadError, match="offline"):
        resolve("owner/other")


def test_revision(hub: type[Hub]) -> None:
    assert resolve(f"owner/tiny@{COMMIT}").name == COMMIT
    assert any("/revision/dev" in path for _, path, _ in hub.requests) is False
    resolve("owner/tiny@dev")
    assert any("/revision/dev" in path for _, path, _ in hub.requests)


def test_second_run_fetches_nothing(hub: type[Hub]) -> None:
    resolve("owner/tiny")
    hub.requests.clear()
    seen: list[Progress] = []
    resolve("owner/tiny", seen.append)
    assert [r for r in hub.requests if r[0] == "GET" and "/resolve/" in r[1]] == []
    assert seen[-1].done == seen[-1].total > 0


def test_interrupted_download_goes_on_where_it_ended(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    # What is kept of a broken transfer is whole chunks, of 10 MB in real life.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    weights = len(hub.files["model.safetensors"])
    hub.cut_after = weights * 2 // 5
    resolve("owner/tiny")
    starts = [
        int(rng[6:].split("-")[0])
        for method, path, rng in hub.requests
        if method == "GET" and path.endswith("model.safetensors") and rng
    ]
    # Cut twice: each further request asks for the rest only.
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] < weights


def test_what_progress_raises_ends_the_download_and_the_next_one_resumes(hub: type[Hub]) -> None:
    class Stop(Exception):
        pass

    def stop(_: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        resolve("owner/tiny", stop)
    assert resolve("owner/tiny").joinpath("model.safetensors").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [("owner/none", "none of that name"), ("secret/model", "gated.*HF_TOKEN")],
)
def test_the_hubs_refusals_are_explained(hub: type[Hub], source: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        resolve(source)


def test_hub_that_is_down(hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(LoadError, match="owner/tiny"):
        resolve("owner/tiny")
