"""What a typed line means."""

import pytest

from frontends.chatinput import (
    COMMANDS,
    Misunderstood,
    Ping,
    Quit,
    Say,
    ShowHelp,
    ShowPeers,
    as_typed,
    completed,
    understood,
)


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("hi there", Say("hi there")),
        ("  indented", Say("  indented")),
        ("one\ntwo", Say("one\ntwo")),
        ("//help me", Say("/help me")),
        ("/msg bob hi there", Say("hi there", "bob")),
        ("/msg bob#k3fa  /quit", Say("/quit", "bob#k3fa")),
        ("/help", ShowHelp()),
        ("/PEERS ", ShowPeers()),
        ("/ping bob", Ping("bob")),
        ("/quit", Quit()),
        ("", None),
        (" \t\n", None),
    ],
)
def test_a_line_is_text_unless_it_begins_with_one_slash(typed: str, command: object) -> None:
    assert understood(typed) == command


@pytest.mark.parametrize("said", [Say("hi"), Say("/quit"), Say("two\nlines", "bob#k3fa")])
def test_what_was_said_can_be_typed_again(said: Say) -> None:
    assert understood(as_typed(said.text, said.to)) == said


@pytest.mark.parametrize("typed", ["/msg", "/msg bob", "/ping", "/ping a b", "/quit now"])
def test_an_incomplete_command_is_answered_with_how_it_is_typed(typed: str) -> None:
    command = understood(typed)
    assert isinstance(command, Misunderstood)
    assert COMMANDS[typed[1:].split()[0]][0] in command.text


def test_an_unknown_command_is_answered_with_the_nearest_one_and_with_the_way_to_say_it() -> None:
    command = understood("/peer")
    assert isinstance(command, Misunderstood)
    assert "did you mean /peers?" in command.text
    assert "//peer sends it as text" in command.text
    far = understood("/xyzzy")
    assert isinstance(far, Misunderstood)
    assert "did you mean" not in far.text


@pytest.mark.parametrize(
    ("typed", "after"),
    [
        ("/pe", "/peers "),
        ("/p", "/p"),
        ("/msg bo", "/msg bob "),
        ("bo", "bob: "),
        ("ask bo", "ask bob"),
        ("c", "carol"),
        ("caro", "carol"),
        ("x", "x"),
        ("", ""),
        ("bob ", "bob "),
    ],
)
def test_tab_completes_as_far_as_it_is_certain(typed: str, after: str) -> None:
    assert completed(typed, ["bob", "carol#aaaa", "carolina"]) == after
