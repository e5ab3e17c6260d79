"""What a program says of a word on its command line that it does not know."""

from __future__ import annotations

import pytest

from reasoning_pipeline.base.command_line import Parser


def program() -> Parser:
    parser = Parser(prog="program")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("submit").add_argument("--partition")
    commands.add_parser("status").add_argument("--hardware", choices=["cpu", "node"])
    return parser


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["submi"], "did you mean 'submit'?"),
        (["status", "--hardwre", "cpu"], "did you mean '--hardware'?"),
        (["status", "--hardware", "nod"], "did you mean 'node'?"),
        (["status", "--partition", "x"], "--partition is of program submit"),
        (["status", "--partition=x"], "--partition is of program submit"),
    ],
)
def test_an_unknown_word_is_answered_with_what_was_probably_meant(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        program().parse_args(words)
    assert left.value.code == 2 and capsys.readouterr().err.rstrip().endswith(hint)


def test_a_word_like_no_other_gets_no_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program().parse_args(["status", "--zzz"])
    assert capsys.readouterr().err.rstrip().endswith("unrecognized arguments: --zzz")
