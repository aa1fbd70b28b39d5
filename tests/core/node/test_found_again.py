"""A router restarts and gives out other ports while no server is left: both are found again.

The whole table is made by `python -m tests.bench.reboot`.
"""

from statistics import median

import pytest

from natd.core.base.verdict import VerdictCode
from tests.bench.reboot import ALICE, BOB, BOTH, MINUTES_S, NOBODY, RANDOM_PORTS, Cell, run
from tests.core.world.chat import Chat

SEEDS = 8

MINDED = (
    Cell("both speak", speakers=BOTH),
    Cell("she speaks", speakers=ALICE),
    Cell("the other speaks", speakers=BOB),
    Cell("both idle", speakers=NOBODY, dead_for_s=MINUTES_S),
    Cell("other side idle", speakers=NOBODY, dead_for_s=MINUTES_S, wakes="alice"),
    Cell("her side idle", speakers=NOBODY, dead_for_s=MINUTES_S, wakes="bob"),
    Cell("5 s dark", outage_s=5.0),
    Cell("40 s dark", outage_s=40.0, speakers=NOBODY),
)


@pytest.mark.parametrize("cell", MINDED, ids=lambda cell: cell.name)
def test_they_meet_soon_after_both_have_noticed_and_each_line_arrives_once(cell):
    outcomes = [run(cell, seed) for seed in range(SEEDS)]
    assert all(outcome.wrong == 0 for outcome in outcomes)
    assert median(outcome.from_noticed_s for outcome in outcomes) <= 3.0
    assert max(outcome.from_reboot_s for outcome in outcomes) <= 30.0


def test_a_side_that_moved_and_notices_last_is_let_in_at_once():
    """All probes of the other are out by then, and every opener may arrive.  The seeds are those of
    a hundred in which openers of a low TTL took 20 s and more."""
    cell = Cell("her side idle", speakers=NOBODY, dead_for_s=MINUTES_S, wakes="bob")
    outcomes = [run(cell, seed) for seed in (27, 58, 70, 75)]
    assert max(outcome.from_noticed_s for outcome in outcomes) <= 3.0


def test_a_side_that_is_idle_notices_within_its_first_keepalive_however_long_the_server_is_dead():
    """What it has learned of its NAT would let it be silent for two minutes."""
    cell = Cell("both idle", speakers=NOBODY, dead_for_s=1800.0)
    outcomes = [run(cell, seed) for seed in range(SEEDS)]
    noticed_s = [outcome.from_reboot_s - outcome.from_noticed_s for outcome in outcomes]
    assert max(noticed_s) <= 15.0 + 1.0, "and three unanswered checks"


@pytest.mark.parametrize("speakers", [BOB, NOBODY])
def test_a_daemon_that_is_restarted_together_with_its_router_is_found_again(speakers):
    """Its keys are new, and so is its port: whichever packet of the two is let in first can't be
    read, and is answered by a card."""
    cell = Cell("restarted", speakers=speakers, restarts=True)
    outcomes = [run(cell, seed) for seed in range(SEEDS)]
    assert all(outcome.wrong == 0 for outcome in outcomes)
    assert median(outcome.from_reboot_s for outcome in outcomes) <= 9.0
    assert max(outcome.from_reboot_s for outcome in outcomes) <= 30.0


SUSPECTED_S = 2.5
"""While both speak: a check of `BUSY_CHECK_S`, and three that are not answered."""


@pytest.mark.parametrize("has_server", [False, True])
def test_who_falls_silent_is_guessed_at_as_soon_as_no_server_answers_and_only_then(has_server):
    """The server has just died, which nobody could know yet."""
    for seed in range(SEEDS):
        chat = Chat(seed, (RANDOM_PORTS, RANDOM_PORTS))
        chat.begin()
        chat.run(20.0)
        if not has_server:
            chat.kill_server()
        chat.gateway("alice").connected = False
        before = chat.gateway("bob").nat.entries_made
        chat.run(SUSPECTED_S + 0.5)
        made = chat.gateway("bob").nat.entries_made - before
        assert made >= 20 if not has_server else made <= 10, f"seed {seed}: {made} guesses"


HOUR_S = 3600.0
RARE_AFTER_S = 300.0
"""From the loss of the path on: three minutes of guessing, and the first longer pauses."""

MET_S = 120.0


@pytest.mark.parametrize("restarts", [False, True])
def test_an_hour_apart_they_guess_rarely_and_meet_within_two_minutes_of_the_return(restarts):
    chat = Chat(1, (RANDOM_PORTS, RANDOM_PORTS))
    chat.begin()
    chat.run(20.0)
    chat.kill_server()
    router, alice, bob = chat.gateway("alice"), *chat.members.values()
    router.connected = False
    if restarts:
        alice.kill()
    chat.run(RARE_AFTER_S)
    before = bob.host.sent
    chat.run(HOUR_S - RARE_AFTER_S)
    a_second = (bob.host.sent - before) / (HOUR_S - RARE_AFTER_S)
    assert a_second <= 12.0
    router.reboot()
    router.connected = True
    if restarts:
        alice.start()
    chat.say("alice")
    line = chat.said["alice"][-1][1]
    assert chat.internet.run_until(lambda: line in bob.texts(), MET_S)


def test_where_both_routers_have_moved_both_sides_are_told_so_within_30_s():
    """No packet of either can be let in by the other, and nobody is left to tell the new ports."""
    for seed in range(3):
        outcome = run(Cell("both", speakers=BOTH, both_routers=True), seed)
        assert outcome.verdict_s is not None
        assert outcome.verdict_s <= 30.0
        assert outcome.codes == {VerdictCode.MOVED}
