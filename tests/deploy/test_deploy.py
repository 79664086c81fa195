"""What is in deploy/ is what its readers take it for."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlxforge.service.config import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "mlxforge.service"
PLIST = DEPLOY / "dev.mlxforge.server.plist"
HARDENED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
}


def unit() -> dict[str, str]:
    """The unit's settings; of those given twice the first."""
    lines = [line for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line)]
    pairs = [line.partition("=")[::2] for line in lines]
    return dict(reversed(pairs))


def test_the_unit_drains_and_is_hardened() -> None:
    settings = unit()
    assert settings["KillSignal"] == "SIGTERM" and settings["KillMode"] == "mixed"
    assert int(settings["TimeoutStopSec"]) > Settings().grace_seconds
    assert settings["Restart"] == "on-failure"
    assert {name: settings[name] for name in HARDENED} == HARDENED


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/mlxforge/bin/mlxforge", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    # A misspelt setting is told.
    copy.write_text(copy.read_text().replace("PrivateTmp=", "PrivateTemp="))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True
    )
    assert "PrivateTemp" in done.stderr


def test_the_launchd_job() -> None:
    job = plistlib.loads(PLIST.read_bytes())
    assert job["Label"] == PLIST.stem
    assert job["ProgramArguments"][1:3] == ["serve", "--config"]
    assert job["ExitTimeOut"] > Settings().grace_seconds
    assert job["KeepAlive"] == {"SuccessfulExit": False}
    assert job["Umask"] == 0o077


def test_the_container_holds_what_the_build_reads() -> None:
    lines = (ROOT / ".containerignore").read_text().split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    for name in allowed:
        assert (ROOT / name).exists(), name
    build = (ROOT / "pyproject.toml").read_text()
    for folder in re.findall(r'"mlxforge/\w+" = "(\w+)', build):
        assert folder in allowed
    text = (DEPLOY / "Containerfile").read_text()
    assert "\nUSER mlxforge\n" in text and "allow-insecure" not in text
