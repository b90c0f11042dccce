"""Keys: who needs them, what they are, and the command that makes them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from engine import keys
from engine.base.curve import ClientKeys, Listening, make
from engine.base.errors import UsageError
from engine.base.options import Options


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "*", "[::]", "example.org"])
def test_off_loopback_keys_are_needed(host: str) -> None:
    with pytest.raises(UsageError, match="so it needs --keys"):
        Listening.of(f"tcp://{host}:5555", None)


def test_usage(tmp_path: Path) -> None:
    key_folder = tmp_path / "keys"
    make(key_folder, ["alice"])
    with pytest.raises(UsageError, match="--keys FOLDER protects --listen"):
        Options(keys=str(key_folder))
    with pytest.raises(UsageError, match="is not a key"):
        Listening.of("tcp://127.0.0.1", str(tmp_path))
    (key_folder / "workers" / "alice.key").unlink()
    with pytest.raises(UsageError, match="nobody could connect"):
        Listening.of("tcp://127.0.0.1", str(key_folder))


def test_the_keys_command(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "keys"
    assert keys.main([str(folder), "alice", "bob"]) == 0
    assert "--listen tcp://ADDRESS:PORT --keys" in capsys.readouterr().out
    for name in ("engine", "alice", "bob"):
        assert stat.S_IMODE((folder / f"{name}.key_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    engine = (folder / "engine.key_secret").read_bytes()
    assert keys.main([str(folder), "carol"]) == 0
    assert (folder / "engine.key_secret").read_bytes() == engine
    for name in ("alice", "engine", "../x", ""):
        assert keys.main([str(folder), name]) == 2
    assert "exists; delete it" in capsys.readouterr().err
    with pytest.raises(UsageError, match="has no secret key"):
        ClientKeys.of(folder / "engine.key", folder / "engine.key")
