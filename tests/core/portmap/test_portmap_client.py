"""A mapping that is asked for, kept and given back by NAT-PMP, PCP and UPnP, in virtual time."""

from random import Random

import pytest

from natd.core.base.types import Address
from natd.core.portmap import natpmp, pcp
from natd.core.portmap.client import (
    ANNOUNCEMENTS_SOCKET,
    CHECK_UP_S,
    LIFETIME_S,
    UPNP_LIFETIME_S,
    Protocol,
)
from natd.core.portmap.grant import MAP_LADDER_S, REST_FIRST_S, REST_LONGEST_S
from tests.core.portmap.router import (
    CLIENT,
    EXTERNAL,
    GATEWAY,
    NONCE,
    OUTSIDE,
    PORT,
    START,
    Router,
    found,
    natpmp_granted,
    pcp_announced,
    pcp_granted,
    report,
)

# --- asking


def test_all_three_are_asked_in_the_first_breath():
    router = Router()
    assert [address.port for _, address, *_ in router.sent] == [5351, 5351, 5351, 1900, 1900, 1900]
    assert router.sent[0].data == pcp.encode_map_request(
        CLIENT, NONCE, PORT, Address("0.0.0.0", PORT), LIFETIME_S
    )
    assert router.sent[2].data == natpmp.encode_map_request(PORT, PORT, LIFETIME_S)


@pytest.mark.parametrize("protocol", Protocol)
def test_each_protocol_alone_gives_the_mapping(protocol):
    router = Router(protocol)
    router.run(5.0)
    assert router.core.externals == (EXTERNAL,)
    assert router.told == [(EXTERNAL,)]


def test_the_same_mapping_by_three_protocols_is_one_address():
    router = Router(*Protocol)
    router.run(5.0)
    assert router.core.externals == (EXTERNAL,)
    assert all(report.external == EXTERNAL for report in router.core.reports)


def test_a_router_that_offers_nothing_is_asked_four_times_and_then_ever_more_rarely():
    router = Router()
    router.run(sum(MAP_LADDER_S) + 1.0)
    assert not any(report.is_asking for report in router.core.reports)
    assert len(router.sent) == len(MAP_LADDER_S) * 6
    router.run(REST_FIRST_S)
    assert len(router.sent) > len(MAP_LADDER_S) * 6
    router.sent.clear()
    router.run(6 * 3600.0)
    assert len(router.sent) <= 6 * 3600 / REST_LONGEST_S * len(MAP_LADDER_S) * 6 + 100


def test_a_lost_answer_costs_a_quarter_of_a_second():
    router = Router(Protocol.NAT_PMP, loses=2)
    router.run(0.3)
    assert router.core.externals == (EXTERNAL,)


def test_another_port_than_ours_is_taken_as_it_is_granted():
    router = Router(Protocol.PCP, external=Address(OUTSIDE, 51000))
    router.run(1.0)
    assert router.core.externals == (Address(OUTSIDE, 51000),)


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.3.4", GATEWAY, CLIENT),
        *("0.1.2.3", "240.0.0.1", "255.255.255.255"),
    ],
)
@pytest.mark.parametrize("protocol", Protocol)
def test_a_port_is_granted_even_where_the_router_names_no_address_for_it(protocol, host):
    router = Router(protocol, external=Address(host, 40007))
    router.run(5.0)
    assert router.core.externals == (Address("0.0.0.0", 40007),)


@pytest.mark.parametrize("protocol", [Protocol.NAT_PMP, Protocol.PCP])
def test_a_router_that_grants_port_0_grants_nothing(protocol):
    router = Router(protocol, external=Address(OUTSIDE, 0))
    router.run(5.0)
    assert router.core.externals == ()


@pytest.mark.parametrize("answer", ["refused", "none"])
def test_a_natpmp_router_that_does_not_tell_its_address_grants_the_port_all_the_same(answer):
    router = Router(Protocol.NAT_PMP)
    router.answers_address = answer
    router.run(0.5)
    assert router.core.externals == (Address("0.0.0.0", PORT),)
    router.answers_address = "told"
    router.run(CHECK_UP_S)
    assert router.core.externals == (EXTERNAL,)


def test_an_external_address_that_is_itself_private_is_kept():
    router = Router(Protocol.NAT_PMP, external=Address("100.64.3.4", PORT))
    router.run(1.0)
    assert router.core.externals == (Address("100.64.3.4", PORT),)


def test_a_refusal_is_reported_and_not_asked_about_at_once():
    router = Router(Protocol.PCP, refuses=True)
    router.run(2.0)
    assert report(router, Protocol.PCP).refusal == "not authorized"
    assert len(router.asked(Protocol.PCP)) == 1


def test_a_router_that_knows_natpmp_only_says_so_and_is_not_asked_in_pcp_again():
    router = Router(Protocol.NAT_PMP, names_versions=True)
    router.run(3.0)
    assert router.core.externals == (EXTERNAL,)
    assert len([d for d in router.sent if d.data[:1] == b"\x02"]) == 1


def test_nobody_but_the_gateway_is_believed():
    router = Router()
    answer = natpmp_granted(Address("198.51.100.66", PORT), epoch_s=9)
    for stranger in (Address("192.168.1.66", 5351), Address(GATEWAY, 5352)):
        for data in answer:
            router.core.receive_datagram(data, stranger, START)
    router.core.receive_datagram(found(), Address("192.168.1.66", 1900), START)
    assert router.core.externals == ()
    assert router.core.next_event() is None
    assert sum(router.core.dropped.values()) == 5


def test_a_pcp_answer_with_a_foreign_nonce_is_none_of_ours():
    router = Router()
    forged = pcp_granted(b"x" * 12, EXTERNAL, LIFETIME_S, 9)
    router.core.receive_datagram(forged, Address(GATEWAY, 5351), START)
    assert router.core.externals == ()


# --- keeping


@pytest.mark.parametrize("protocol", Protocol)
def test_a_mapping_is_renewed_at_half_its_lifetime_with_the_same_wish(protocol):
    router = Router(protocol, external=Address(OUTSIDE, 51000))
    lifetime_s = UPNP_LIFETIME_S if protocol is Protocol.UPNP else LIFETIME_S
    router.run(lifetime_s / 2 - 10.0)
    assert len(router.asked(protocol)) == 1
    router.run(20.0)
    assert len(router.asked(protocol)) == 2
    assert router.wished[protocol] == 51000
    router.run(3 * lifetime_s)
    assert router.told == [(Address(OUTSIDE, 51000),)]


def test_what_is_granted_for_a_short_time_is_renewed_sooner():
    router = Router(Protocol.PCP, lifetime_s=120)
    router.run(65.0)
    assert len(router.asked(Protocol.PCP)) == 2


def test_a_router_that_falls_silent_keeps_our_mapping_until_it_expires():
    router = Router(Protocol.PCP)
    router.run(1.0)
    router.speaks.clear()
    router.run(LIFETIME_S - 5.0)
    assert router.core.externals == (EXTERNAL,)
    asked = len(router.asked(Protocol.PCP))
    assert 10 <= asked <= 60, "it is asked ever more often, not all the time"
    router.run(10.0)
    assert not router.core.externals
    assert router.told == [(EXTERNAL,), ()]


def test_a_short_mapping_outlives_a_silence_in_the_midst_of_its_renewal():
    router = Router(Protocol.PCP, lifetime_s=120)
    router.run(50.0)
    router.speaks.clear()
    router.run(50.0)
    router.speaks.add(Protocol.PCP)
    router.run(60.0)
    assert router.told == [(EXTERNAL,)]


def test_a_refused_renewal_ends_the_mapping():
    router = Router(Protocol.PCP)
    router.run(1.0)
    router.refuses = True
    router.run(LIFETIME_S / 2 + 10.0)
    assert router.core.externals == ()


def test_an_idle_hour_costs_one_small_packet_a_minute():
    router = Router(Protocol.PCP, Protocol.NAT_PMP)
    router.run(10.0)
    router.sent.clear()
    router.run(1500.0)
    to_router = [d for d in router.sent if d.address.port == 5351]
    assert len(to_router) <= 1500 / CHECK_UP_S
    assert all(len(d.data) <= 60 for d in to_router)


@pytest.mark.parametrize("protocol", [Protocol.PCP, Protocol.NAT_PMP])
def test_a_restarted_router_is_asked_again_within_a_minute(protocol):
    router = Router(protocol)
    router.run(600.0)
    asked = len(router.asked(protocol))
    router.restart()
    router.run(CHECK_UP_S + 1.0)
    assert len(router.asked(protocol)) == asked + 1
    assert router.core.externals == (EXTERNAL,)


@pytest.mark.parametrize("protocol", [Protocol.PCP, Protocol.NAT_PMP])
def test_a_router_that_announces_its_restart_is_asked_again_at_once(protocol):
    router = Router(protocol)
    router.run(590.0)
    asked = len(router.asked(protocol))
    router.restart()
    router.announce()
    router.run(0.5)
    assert len(router.asked(protocol)) == asked + 1


def test_a_router_that_was_switched_on_after_us_is_found_by_its_announcement():
    router = Router()
    router.run(30.0)
    router.speaks.add(Protocol.NAT_PMP)
    router.restart()
    router.announce()
    router.run(0.5)
    assert router.core.externals == (EXTERNAL,)


def test_a_clock_that_runs_as_ours_is_no_restart():
    router = Router(Protocol.PCP, clock_rate=1.05)
    router.run(1500.0)
    assert len(router.asked(Protocol.PCP)) == 1


def test_forged_announcements_cost_a_request_in_five_seconds_at_most():
    router = Router(Protocol.PCP)
    router.run(60.0)
    asked = len(router.asked(Protocol.PCP))
    random = Random(3)
    for _ in range(1000):
        forged = pcp_announced(random.getrandbits(32))
        router.core.receive_datagram(
            forged, Address(GATEWAY, 5351), router.now, ANNOUNCEMENTS_SOCKET
        )
        router.run(0.01)
    assert len(router.asked(Protocol.PCP)) - asked <= 3


def test_a_router_that_is_renumbered_moves_our_mapping():
    router = Router(Protocol.NAT_PMP)
    router.run(10.0)
    router.external = Address("203.0.113.77", PORT)
    router.run(CHECK_UP_S + 1.0)
    assert router.core.externals == (Address("203.0.113.77", PORT),)


def test_a_upnp_router_that_moved_to_another_port_is_searched_again():
    router = Router(Protocol.UPNP)
    router.run(10.0)
    router.location = f"http://{GATEWAY}:6000/"
    router.run(UPNP_LIFETIME_S / 2 + 10.0)
    assert router.core.externals == (EXTERNAL,)
    assert router.told == [(EXTERNAL,)]


def test_upnp_tries_other_ports_when_ours_is_taken():
    router = Router(Protocol.UPNP)
    router.run(0.1)
    (order,) = router.orders
    assert order.external_ports[0] == PORT
    assert len(set(order.external_ports)) > 1
    assert all(1024 <= port <= 65535 for port in order.external_ports)


# --- the end


def test_what_was_mapped_is_taken_back():
    router = Router(*Protocol)
    router.run(10.0)
    router.core.stop(router.now)
    router.run(0.0)
    assert router.core.is_done
    assert router.mapped == {}
    assert router.core.externals == ()


def test_what_may_have_been_mapped_is_taken_back_too():
    router = Router(Protocol.PCP)
    router.core.stop(START)
    router.run(0.0)
    assert router.mapped == {}
    assert router.core.is_done, "with nothing known to be held there is nothing to wait for"


def test_a_lost_release_is_sent_again_and_not_for_ever():
    router = Router(Protocol.PCP)
    router.run(10.0)
    router.loses = 1
    router.core.stop(router.now)
    router.run(0.2)
    assert router.core.is_done
    assert router.mapped == {}
    router.run(10.0)
    assert router.core.get_timer() is None


def test_a_mapping_that_another_protocol_made_over_is_not_waited_for():
    router = Router(Protocol.PCP)
    router.run(10.0)
    router.refuses = True
    router.core.stop(router.now)
    router.run(0.0)
    assert router.core.is_done


def test_an_answer_that_comes_after_the_end_changes_nothing():
    router = Router(Protocol.UPNP)
    router.core.stop(START)
    router.core.upnp_answered(EXTERNAL, 100, "", START)
    for data in natpmp_granted(EXTERNAL, 1):
        router.core.receive_datagram(data, Address(GATEWAY, 5351), START)
    assert router.core.externals == ()
