"""What natctl says of its commands, and that every command in a hint can be typed."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from natctl.__main__ import COMMANDS_AT, command_line, run
from natd.__main__ import command as natd_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(
    capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert run(["completion", shell]) == 0
    assert "_NATCTL_COMPLETE" in capsys.readouterr().out


def test_completion_offers_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_NATCTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "natctl st")
    monkeypatch.setenv("COMP_CWORD", "1")
    run([])
    assert capsys.readouterr().out.splitlines() == ["plain,status"]


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS_AT:
        assert run([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert len(shown.splitlines()) > 3
        assert max(map(len, shown.splitlines())) <= 80


def test_every_command_in_a_hint_can_be_typed() -> None:
    checked = 0
    for place, text in texts_of_ours():
        for quoted in re.findall(r"`(natctl [^`]*|natd[^`]*)`", text):
            parse(place, quoted)
            checked += 1
        if (
            text.startswith("natctl ")
            and "FILLED" not in text.split()[1]
            and not re.search(r" (says|lists|waits) ", text)
        ):
            parse(place, text)
        for name in re.findall(r"\bnatctl ([a-z]+)\b", text):
            assert name in COMMANDS_AT, f"{place}: natctl {name}"
            checked += 1
    assert checked > 20


def texts_of_ours() -> Iterator[tuple[str, str]]:
    """Every string of the programs that is no comment, with FILLED where something is put in."""
    for package in ("natctl", "natd", "frontends"):
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text())
            passed_over = {
                id(below)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
                for below in ast.iter_child_nodes(node)
            }
            for node in ast.walk(tree):
                place = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        str(part.value) if isinstance(part, ast.Constant) else "FILLED"
                        for part in node.values
                    ]
                    yield place, "".join(parts)
                elif (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and id(node) not in passed_over
                ):
                    yield place, node.value


def parse(place: str, quoted: str) -> None:
    program, *arguments = shlex.split(quoted)
    command: click.Command = command_line if program == "natctl" else natd_command
    try:
        context = command.make_context(program, arguments)
        # A group keeps the command's name apart from what stands behind it.
        while isinstance(command, click.Group) and context._protected_args:
            words = [*context._protected_args, *context.args]
            _, below, rest = command.resolve_command(context, words)
            assert below is not None
            command = below
            context = command.make_context(command.name, rest, parent=context)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        pass  # it was a question for help
    except click.UsageError as error:
        pytest.fail(f"{place}: `{quoted}`: {error.format_message()}")
