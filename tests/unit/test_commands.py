"""All programs under one name."""

from __future__ import annotations

from importlib import import_module

import pytest

from engine.__main__ import BENCHMARKS, COMMANDS, main
from engine.base.version import VERSION

OWN_PARSERS = [module for module, _ in COMMANDS.values() if module != "converters.onnx2om"]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr().out
    for word, (_, what) in COMMANDS.items():
        assert f"  {word} " in said
        assert what in said
    assert ", ".join(BENCHMARKS) in said
    assert main(["bench"]) == main(["bench", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {word} " in said for word in BENCHMARKS)


@pytest.mark.parametrize(
    "words",
    [[], *([word] for word in COMMANDS), *(["bench", word] for word in BENCHMARKS)],
    ids=" ".join,
)
def test_the_version_of_each(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--version"]) == 0
    assert capsys.readouterr().out == f"{VERSION}\n"


@pytest.mark.parametrize("module", OWN_PARSERS)
def test_the_version_without_the_common_name(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(module).main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{VERSION}\n"


@pytest.mark.parametrize("module", OWN_PARSERS)
def test_an_option_that_is_mistyped(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    needed = {
        "engine.inspect": ["x"],
        "engine.fuse": ["x", "y"],
        "engine.join": ["x"],
        "engine.keys": ["x", "y"],
        "converters.pytorch2onnx": ["x", "y", "--output-file", "z"],
        "converters.quantize": ["x", "--dataset", "y", "--output-file", "z"],
        "converters.calibrate": ["x", "--model", "y", "--output", "z"],
        "converters.annotations": ["x", "y"],
        "converters.oracle": ["x", "y", "z", "--python", "p"],
        "converters.survey": ["x"],
    }
    with pytest.raises(SystemExit) as ended:
        import_module(module).main([*needed.get(module, []), "--vershion"])
    assert ended.value.code == 2
    assert "--vershion; did you mean --version?" in capsys.readouterr().err


def test_flags_alone_are_those_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--datset=demo", "--limit", "1"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "engine.run: error: unrecognized" in said
    assert "--datset=demo; did you mean --dataset?" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum", "--dataset", "demo"], "'rum' is no command; did you mean run?"),
        (["benhc"], "'benhc' is no command; did you mean bench?"),
        (["annotations.pkl.gz"], "is no command; did you mean annotations?"),
        (["xyzzy"], "'xyzzy' is no command; there are run, inspect"),
        (["bench", "pure"], "'pure' is no benchmark"),
        (["bench", "end-to-end"], "'end-to-end' is no benchmark; did you mean end_to_end?"),
    ],
)
def test_a_word_that_is_mistyped(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
