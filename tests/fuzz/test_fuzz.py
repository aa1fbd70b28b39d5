"""Malformed input raises nothing, draws no larger answer, aims at nobody and ends no session.

The long version: `python -m tests.fuzz --datagrams 1000000`.
"""

import pytest

from tests.fuzz import corpus
from tests.fuzz.__main__ import by_hypothesis, by_mutation, failure
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.live import Stage

DATAGRAMS = 20_000
INPUTS = 2_000
SLOW_INPUTS = 200
"""Of those that read files or sockets."""

SLOW = ("config", "secret", "zmtp")


@pytest.mark.parametrize("seed", [1, 2])
def test_changed_datagrams_raise_nothing_draw_no_larger_answer_and_end_no_session(
    seed: int,
) -> None:
    stage = Stage(seed)
    stage.meet()
    stage.attack(DATAGRAMS // 2)
    assert stage.wrong() == []
    reached = stage.dropped()
    for plane in ("stun-malformed", "not-authentic-or-not-new", "rendezvous-of-nobody"):
        assert reached[plane] >= 100, "the datagrams came as far as the checks of every plane"
    assert reached["card-does-not-open"], "and some as far as a card"
    assert len(stage.internet.aims.waves) >= 3, "some registrations were withheld, and aimed"
    assert stage.aimed[0] >= 3, "and some of these did reach members"


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda decoder: decoder.name)
def test_a_decoder_raises_nothing_but_its_own_error_for_input_that_is_almost_right(
    decoder: Decoder,
) -> None:
    inputs = SLOW_INPUTS if decoder.name in SLOW else INPUTS
    assert by_mutation(decoder, inputs, seed=1) == []
    assert by_hypothesis(decoder, SLOW_INPUTS, seed=1) == []


def test_every_decoder_reads_what_the_corpus_has_for_it() -> None:
    seeds = corpus.load()
    for decoder in DECODERS:
        assert seeds[decoder.name], decoder.name
        for data in seeds[decoder.name]:
            assert failure(decoder, data) is None
        assert any(decoder.try_on(data) for data in seeds[decoder.name]), decoder.name


def test_the_corpus_holds_datagrams_of_every_plane_and_stays_small() -> None:
    seeds = corpus.load()
    kinds = {corpus.kind_of(data) for plane in seeds.values() for data in plane}
    for kind in ("Register", "Challenge", "Registered", "Introduce", "Refresh", "Refreshed"):
        assert f"rendezvous {kind}" in kinds
    assert any(kind.startswith("stun REQUEST") for kind in kinds)
    assert any(kind.startswith("greeting") for kind in kinds)
    assert {kind for kind in kinds if kind.startswith("quic 0x")}
    assert any(kind.startswith("quic short") for kind in kinds)
    assert corpus.FILE.stat().st_size < 200 * 1024
