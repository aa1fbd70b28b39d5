"""Whoever is meant is reached, and nobody else, whatever nicks others have chosen."""

from hypothesis import given, settings
from hypothesis import strategies as st

from natd.core.base.types import PeerId, peer_id_text
from natd.ipc.peer_names import certain_name, may_mean

ANNA = peer_id_text(PeerId(b"anna" * 8))
BERT = peer_id_text(PeerId(b"bert" * 8))


def test_a_whole_id_means_its_owner_alone_in_either_case() -> None:
    assert may_mean(ANNA, "anna", ANNA)
    assert may_mean(ANNA.upper(), "anna", ANNA)
    assert not may_mean(ANNA, ANNA, BERT)
    assert not may_mean(ANNA.upper(), ANNA.upper(), BERT)


def test_what_looks_like_a_whole_id_never_means_a_nick() -> None:
    nobodys = "a" * 52
    assert not may_mean(nobodys, nobodys, ANNA)


def test_the_beginning_of_an_id_means_whoever_it_fits_by_nick_too() -> None:
    assert may_mean(ANNA[:4], "anna", ANNA)
    assert may_mean(ANNA[:4], ANNA[:4], BERT)
    assert not may_mean(ANNA[:3], "anna", ANNA)


def test_a_nick_with_a_tag_in_it_is_not_what_the_tag_says() -> None:
    assert may_mean(f"anna#{ANNA[:4]}", "anna", ANNA)
    assert not may_mean(f"anna#{ANNA[:4]}", f"anna#{ANNA[:4]}", BERT)
    assert may_mean(f"anna#{ANNA[:4]}#{BERT[:4]}", f"anna#{ANNA[:4]}", BERT)


def test_a_tag_alone_means_a_peer_whose_nick_can_not_be_typed() -> None:
    assert may_mean(f"#{ANNA[:4]}", "\u200b", ANNA)
    assert not may_mean("#", "", ANNA)
    assert not may_mean("anna#", "anna", ANNA)


def test_a_certain_name_is_as_short_as_the_others_let_it_be() -> None:
    assert certain_name("anna", ANNA, []) == f"anna#{ANNA[:4]}"
    assert certain_name("a b", ANNA, []) == ANNA[:12]
    assert certain_name("$(reboot)", ANNA, []) == ANNA[:12]
    assert certain_name("--help", ANNA, []) == ANNA[:12]
    assert certain_name("\u3164", ANNA, []) == ANNA[:12]
    twin = ANNA[:20] + BERT[20:]
    assert certain_name("anna", ANNA, [("anna", twin)]) == ANNA
    assert certain_name("a b", ANNA, [(ANNA[:12], BERT)]) == ANNA


IDS = st.lists(
    # Few letters: ids begin alike far more often than they do.
    st.text("ab", min_size=52, max_size=52),
    min_size=2,
    max_size=5,
    unique=True,
)


@st.composite
def adversarial_peers(draw: st.DrawFn) -> list[tuple[str, str]]:
    """(nick, id): nicks that are others' ids, their beginnings, their tags, their names."""
    ids = draw(IDS)
    peers = []
    for own in ids:
        other = draw(st.sampled_from(ids))
        cut = draw(st.integers(1, 52))
        plain = draw(st.sampled_from(["bob", "Bob", "b", "", "ab", "a b", "-x", "\u202ebob"]))
        imitation = st.sampled_from(
            [
                plain,
                other,
                other.upper(),
                other[:cut],
                f"{plain}#{other[:4]}",
                f"#{other[:4]}",
                f"{plain}#{other}",
                f"{plain}#{other[:cut]}#{own[:4]}",
                "bob#",
            ]
        )
        peers.append((draw(imitation), own))
    return peers


@settings(max_examples=1000, deadline=None)
@given(adversarial_peers())
def test_a_whole_id_and_a_certain_name_mean_one_peer_whatever_nicks_the_others_have(
    peers: list[tuple[str, str]],
) -> None:
    for nick, peer_id in peers:
        for text in (peer_id, peer_id.upper(), certain_name(nick, peer_id, peers)):
            assert [each for each in peers if may_mean(text, *each)] == [(nick, peer_id)]
            assert text.isprintable()
            assert " " not in text


@settings(max_examples=1000, deadline=None)
@given(adversarial_peers(), st.data())
def test_text_that_means_one_peer_is_its_nick_or_begins_its_id(
    peers: list[tuple[str, str]], data: st.DataObject
) -> None:
    nick, peer_id = data.draw(st.sampled_from(peers))
    cut = data.draw(st.integers(4, 52))
    for text in (nick, peer_id[:cut], f"{nick}#{peer_id[:cut]}"):
        for meant, id_ in (each for each in peers if may_mean(text, *each)):
            named, _, tag = text.rpartition("#")
            assert meant == text or id_.startswith((tag or named).lower())
            assert not named or meant == named
