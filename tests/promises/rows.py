"""Every promise, its figure, and the tests that show it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    promise: str
    figure: str
    tests: tuple[str, ...]
    """What pytest is given."""
    program: tuple[str, ...] = ()
    """What shows it at full length, for `python -m`; its last line is what was measured."""


def _row(promise: str, figure: str, *tests: str, program: str = "") -> Row:
    return Row(promise, figure, tests, tuple(program.split()))


_NODE, _DAEMON, _COORDINATOR = "tests/core/node", "tests/daemon", "tests/core/coordinator"

LOST = (
    _row(
        "two meet where three of ten packets are lost, either way",
        "50 of 50",
        "tests/nemesis/test_weather.py::"
        "test_ten_of_ten_pairs_meet_where_three_of_ten_packets_are_lost",
        program="tests.nemesis.weather --messages 0 --meetings 50",
    ),
    _row(
        "10,000 messages each way at 10 % loss, reordering, 5 % duplicates, 2 % bit flips",
        "0 lost, 0 doubled, in order",
        "tests/nemesis/test_weather.py::"
        "test_a_thousand_messages_each_way_in_bad_weather_arrive_once_and_in_order",
        program="tests.nemesis.weather --messages 10000 --meetings 0",
    ),
    _row(
        "200 kills of both ends over 10,000 messages each way at 5 % loss; a front end that is "
        "killed, too",
        "0 lost, 0 doubled, back in 5 s; each event once by its cursor, what was not acknowledged "
        "once more",
        "tests/natlab/test_long_chat.py",
    ),
    _row(
        "a front end that reads nothing",
        "costs little, and gets everything afterwards",
        "tests/control/test_control_link.py::"
        "test_a_subscriber_that_reads_nothing_costs_little_and_then_gets_all_events",
    ),
    _row(
        "a NAT that rebinds, a router that restarts, paths that are lost",
        "mended in time, nothing lost, one session",
        f"{_NODE}/test_survival.py",
        "tests/natlab/test_strikes.py",
        "tests/natlab/test_router_restarts.py",
    ),
    _row(
        "the server is killed, or comes back empty",
        "the chat goes on; all are registered again in 30 s",
        f"{_NODE}/test_node.py::test_the_chat_goes_on_after_the_server_is_killed",
        f"{_NODE}/test_node.py::test_a_server_that_was_restarted_empty_breaks_nothing",
        f"{_DAEMON}/test_server.py::test_a_restarted_server_has_everyone_back",
    ),
    _row(
        "a daemon restarts while the server is dead",
        "finds its peers again",
        f"{_NODE}/test_node.py::test_a_peer_restarted_while_the_server_is_dead_finds_the_others",
        "tests/natlab/test_without_server.py",
    ),
    _row(
        "the clock is set, in a run or between two",
        "nothing is lost, given up or deleted by it; it is told",
        f"{_DAEMON}/test_clocks.py",
        "tests/storage/test_own_time.py",
    ),
    _row(
        "a disk that is full, dead, frozen, damaged or gone; half of a state directory",
        "refused with the reason, not acknowledged, alive or stopped with one line",
        f"{_DAEMON}/test_disk.py",
        "tests/storage/test_database.py",
        "tests/storage/test_identity.py",
    ),
    _row(
        "a state directory that comes back from a copy, or runs twice",
        "nothing swallowed, nothing called delivered that is not; named on both",
        f"{_NODE}/test_restored_disk.py",
        f"{_NODE}/test_older_cards.py",
        f"{_NODE}/test_cards_of_the_past.py",
        f"{_NODE}/test_copies.py",
    ),
    _row(
        "a front end asks again after a pause, or a kill, of the daemon",
        "sent once",
        f"{_DAEMON}/test_sent_once.py",
    ),
    _row(
        "requests of one client in one breath",
        "take effect, and are answered, in their order",
        f"{_DAEMON}/test_pipelined.py",
        "tests/control/test_request_order.py",
    ),
    _row(
        "any mix of all this, from a seed, with hostile members (`python -m tests.nemesis`)",
        "1,000 seeds, 0 violations",
        "tests/nemesis/test_nemesis.py",
        program="tests.nemesis --seeds 1000",
    ),
)

LET_IN = (
    _row(
        "a server that swaps keys, alters or replays cards",
        "no session, and a warning",
        f"{_NODE}/test_intruders.py",
        f"{_NODE}/test_lying_server.py",
    ),
    _row(
        "a stolen key used against its owner",
        "does not let anybody pose as another to it",
        "tests/core/keys/test_secrets.py::"
        "test_a_stolen_static_key_does_not_let_a_stranger_pose_as_another_to_its_owner",
    ),
    _row(
        "reflection by the server",
        "no more out than in to an unproved address, three times over all; memory unchanged by "
        "100,000 forged sources",
        f"{_COORDINATOR}/test_coordinator_limits.py",
        f"{_COORDINATOR}/test_freshness.py",
    ),
    _row(
        "peers made to flood somebody",
        "a captured registration draws nothing, one held back ten packets a member; guesses within "
        "the bounds of the hour",
        f"{_NODE}/test_replayed_registers.py",
        f"{_NODE}/test_flipping_server.py",
        "tests/core/checks/test_strangers.py",
        "tests/core/checks/test_unproved_hosts.py",
        "tests/core/checks/test_budget.py",
    ),
    _row(
        "a name that looks like somebody's id",
        "0 of 1,000 to the wrong one",
        "tests/ipc/test_peer_names.py",
        f"{_DAEMON}/test_imitators.py",
    ),
    _row(
        "1,000 strangers who come once and fill every place",
        "a newcomer is in within 5 s; who finds none is told so",
        f"{_NODE}/test_strangers_fill.py",
        f"{_DAEMON}/test_crowd.py",
    ),
    _row(
        "one member who fills disks",
        "no more than its part, others unharmed; texts stand once",
        "tests/storage/test_room_and_age.py",
        "tests/core/chat/test_no_room.py",
    ),
    _row(
        "running out of descriptors",
        "5,000 idle connections, and a limit of 64 files: alive, and it says so",
        f"{_DAEMON}/test_descriptors.py",
        "tests/natlab/test_few_descriptors.py",
    ),
    _row(
        "a gateway on the LAN that lies, and a flood on the link",
        "nothing asked elsewhere, less than 1 MiB; members meet",
        "tests/net/test_lying_gateway.py",
        "tests/natlab/test_lying_router.py",
        "tests/natlab/test_group_flood.py",
        "tests/core/portmap/test_forged_answers.py",
    ),
    _row(
        "a network's key seen on the wire",
        "0 registered, 0 listed, 0 places taken",
        f"{_NODE}/test_replayed_registers.py::"
        "test_who_has_sniffed_the_network_registers_lists_and_takes_nothing",
    ),
    _row(
        "guessing names at a server; floods of every kind; taking all leases",
        "no oracle in 10,000; a newcomer registers in 5 s under each",
        f"{_COORDINATOR}/test_floods.py",
        f"{_COORDINATOR}/test_shares.py",
    ),
    _row(
        "a whole session replayed",
        "0 accepted",
        f"{_NODE}/test_intruders.py::"
        "test_a_replayed_first_flight_and_a_whole_replayed_session_change_nothing",
    ),
    _row(
        "20,000 junk packets a second",
        "no message lost, memory bounded",
        f"{_DAEMON}/test_abuse.py",
    ),
    _row(
        "10^6 changed datagrams (`python -m tests.fuzz`)",
        "0 exceptions, 0 answers larger than the question, sessions alive",
        "tests/fuzz/test_fuzz.py",
        program="tests.fuzz --datagrams 1000000",
    ),
    _row(
        "escape sequences in text, nick, file name, error",
        "200 sequences at a pty: 0 leak",
        "tests/natctl/test_terminal_leaks.py",
        "tests/frontends/test_terminal_leaks.py",
    ),
    _row(
        "another user of the machine",
        "refused by the socket, and never taken for our daemon; a second daemon is refused",
        "tests/ipc/test_places.py",
        "tests/control/test_control_socket.py",
    ),
    _row(
        "secrets",
        "0 hits in arguments, environment, logs, answers; no core file",
        f"{_DAEMON}/test_secrets.py",
        f"{_DAEMON}/test_hardening.py",
    ),
)

SPARING = (
    _row(
        "an idle peer, both ways, the server's packets apart",
        "at most 8 a minute, 4 once its NAT is known",
        f"{_NODE}/test_idle.py",
        f"{_NODE}/test_crowd.py",
    ),
    _row(
        "64 networks of the same two at once",
        "at most 600 packets a minute, the server's included",
        f"{_NODE}/test_crowd.py::"
        "test_two_who_share_64_networks_send_no_more_than_600_packets_a_minute_each",
    ),
    _row(
        "100 members of one network on two cores",
        "met in 60 s for 0.8 s of CPU a member, idle 0.5 % of a core, a message to all in 400 ms, "
        "96 MiB",
        f"{_NODE}/test_crowd.py",
        "tests/natlab/test_mesh.py",
        program="tests.bench.mesh",
    ),
)

TABLES = {
    "Nothing is lost": LOST,
    "Nobody is let in": LET_IN,
    "It is sparing": SPARING,
}
