"""Who has a place at the control socket, and who gives way."""

from dataclasses import dataclass

import pytest

from natd.control.admission import Admission, Stage
from natd.host.errors import CommandError


def test_the_65th_that_wants_to_stay_is_told_who_holds_the_places() -> None:
    admission, clients = full(pids=[812] * 60 + [99] * 4)
    late = enter(admission, clients, pid=7)
    with pytest.raises(CommandError) as told:
        admission.admit(late, "subscribe", clients, 1001.0)
    assert told.value.code == "too_many_clients"
    assert "natd serves 64 programs at a time" in told.value.text
    assert "process 812 holds 60, process 99 holds 4" in told.value.text
    assert "natctl shutdown" in str(told.value.hint)


def test_beside_64_clients_16_more_can_ask_at_a_time() -> None:
    admission, clients = full()
    guests = [enter(admission, clients) for _ in range(16)]
    for guest in guests:
        admission.admit(guest, "peers", clients, 1001.0)
    late = enter(admission, clients)
    with pytest.raises(CommandError, match="64 programs"):
        admission.admit(late, "peers", clients, 1001.0)
    admission.answered(guests[0], 1002.0)
    admission.admit(late, "peers", clients, 1003.0)


@pytest.mark.parametrize("do", ["hello", "status", "shutdown"])
def test_the_owner_is_answered_even_where_all_places_are_busy(do: str) -> None:
    admission, clients = full()
    for _ in range(16):
        admission.admit(enter(admission, clients), "wait", clients, 1001.0)
    for _ in range(100):
        admission.admit(enter(admission, clients), do, clients, 1001.0)


def test_a_place_that_is_given_back_is_for_the_next_who_asks() -> None:
    admission, clients = full()
    late = enter(admission, clients)
    admission.left(clients.pop(0))
    admission.admit(late, "subscribe", clients, 1001.0)
    assert late.stage == Stage.CLIENT


def test_the_silent_give_way_first_and_of_them_the_oldest() -> None:
    admission = Admission[Some](144)
    among: list[Some] = []
    idle = enter(admission, among, at=1000.0)
    admission.has_greeted(idle, is_over=True)
    greeting = enter(admission, among, at=1001.0)
    admission.has_greeted(greeting, is_over=False)
    older = enter(admission, among, at=1002.0)
    newer = enter(admission, among, at=1003.0)
    client = enter(admission, among, at=999.0)
    admission.admit(client, "hello", among, 1004.0)
    order = []
    while (found := admission.first_to_go(among, 1005.0)) is not None:
        admission.left(found)
        among.remove(found)
        order.append(found)
    assert order == [older, newer, greeting, idle]


def test_somebody_without_a_place_can_always_give_way() -> None:
    for connections in (12, 20, 60, 100, 144):
        admission = Admission[Some](connections)
        among: list[Some] = []
        while not admission.is_full:
            admission_quietly(admission, enter(admission, among), among)
        assert len(among) == connections
        assert admission.first_to_go(among, 1001.0) is not None


def test_who_does_not_end_a_handshake_or_a_first_request_has_five_seconds() -> None:
    admission = Admission[Some](144)
    among: list[Some] = []
    silent = enter(admission, among)
    greeting = enter(admission, among)
    admission.has_greeted(greeting, is_over=False)
    idle = enter(admission, among)
    admission.has_greeted(idle, is_over=True)
    slow = enter(admission, among)
    admission.has_greeted(slow, is_over=True)
    slow.has_begun = True
    assert admission.overdue(among, 1004.9) == []
    assert admission.overdue(among, 1005.0) == [silent, greeting, slow]


def test_it_is_a_problem_while_all_places_are_taken_and_for_a_minute_after_somebody_gave_way() -> (
    None
):
    admission = Admission[Some](144)
    among: list[Some] = []
    enter(admission, among)
    assert admission.problem(among, 1000.0) is None
    while not admission.is_full:
        enter(admission, among, pid=5)
    admission.first_to_go(among, 1000.0)
    told = admission.problem(among, 1059.0)
    assert told is not None
    assert told["code"] == "too_many_clients"
    assert told["text"].startswith("more than 144 connections to natd at a time: process 5 ")
    assert admission.problem(among, 1061.0) is None
    admission, clients = full()
    assert admission.problem(clients, 5000.0) is not None


def test_a_process_that_may_open_no_more_is_told_apart_from_a_crowd() -> None:
    admission = Admission[Some](144)
    among = [enter(admission, []) for _ in range(7)]
    admission.first_to_go(among, 1000.0)
    told = admission.problem(among, 1001.0)
    assert told is not None
    assert "natd has 7 connections and may open no more files" in told["text"]


# --- helpers


@dataclass(slots=True, eq=False)
class Some:
    pid: int
    active_at: float
    stage: Stage = Stage.SILENT
    has_begun: bool = False


def enter(
    admission: Admission[Some], among: list[Some], *, pid: int = 0, at: float = 1000.0
) -> Some:
    one = Some(pid, at)
    admission.entered(one)
    among.append(one)
    return one


def full(pids: list[int] | None = None) -> tuple[Admission[Some], list[Some]]:
    """All places for clients are taken."""
    admission, clients = Admission[Some](144), list[Some]()
    for pid in pids or [0] * 64:
        admission.admit(enter(admission, clients, pid=pid), "hello", clients, 1000.0)
    return admission, clients


def admission_quietly(admission: Admission[Some], one: Some, among: list[Some]) -> None:
    try:
        admission.admit(one, "peers", among, 1000.0)
    except CommandError:
        return
