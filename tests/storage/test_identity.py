"""The seed on disk: made once, whole, private, and refused rather than replaced."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from natd.core.keys.card import Identity
from natd.host.errors import StartError
from natd.storage.identity import IDENTITY_FILE, load_identity
from natd.storage.store import Store


def test_the_first_start_makes_an_identity_and_later_ones_keep_it(tmp_path: Path) -> None:
    first = load_identity(tmp_path)

    assert load_identity(tmp_path).peer == first.peer


def test_two_state_directories_have_two_identities(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert load_identity(tmp_path / "a").peer != load_identity(tmp_path / "b").peer


def test_the_file_holds_the_seed_alone_and_is_private(tmp_path: Path) -> None:
    identity = load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE

    assert Identity(path.read_bytes()).peer == identity.peer
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path)) == [IDENTITY_FILE, "natd.db"]


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_identity(tmp_path)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / IDENTITY_FILE).stat().st_mode) == 0o600


def test_of_many_starts_at_once_all_get_the_same_identity(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        peers = {identity.peer for identity in threads.map(load_identity, [tmp_path] * 32)}

    assert len(peers) == 1
    assert sorted(os.listdir(tmp_path)) == [IDENTITY_FILE, "natd.db"]


def test_an_identity_whose_database_is_gone_is_refused_until_the_user_says_so(
    tmp_path: Path,
) -> None:
    first = load_identity(tmp_path)
    (tmp_path / "natd.db").unlink()
    text = refusal(tmp_path)
    assert f"{tmp_path / 'natd.db'} is missing" in text
    assert text.endswith(f"touch {tmp_path / 'natd.db'}")
    (tmp_path / "natd.db").touch(0o644)
    (tmp_path / "natd.db").chmod(0o644)
    assert load_identity(tmp_path).peer == first.peer
    Store(tmp_path)


def test_a_database_whose_identity_is_gone_gets_no_other(tmp_path: Path) -> None:
    load_identity(tmp_path)
    Store(tmp_path)
    (tmp_path / IDENTITY_FILE).unlink()
    assert f"{tmp_path / IDENTITY_FILE} is missing" in refusal(tmp_path)
    assert not (tmp_path / IDENTITY_FILE).exists()


def test_a_database_is_used_with_one_identity_only(tmp_path: Path) -> None:
    Store(tmp_path, "aaaa")
    Store(tmp_path, "aaaa")
    with pytest.raises(StartError, match="belongs to the identity aaaa, not to bbbb"):
        Store(tmp_path, "bbbb")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_use_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    load_identity(tmp_path)
    path = tmp_path / IDENTITY_FILE
    path.chmod(mode)

    assert f"chmod 600 {path}" in refusal(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("size", [0, 31, 33, 1 << 20])
def test_a_file_of_another_size_is_refused_and_left_as_it_is(tmp_path: Path, size: int) -> None:
    path = write_seed(tmp_path, bytes(size))

    assert f"{size} bytes" in refusal(tmp_path)
    assert path.read_bytes() == bytes(size)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = write_seed(tmp_path, bytes(32)).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert f"belongs to user id {owner}, natd runs as {owner + 1}" in refusal(tmp_path)


def test_a_symlink_of_that_name_is_refused_even_to_a_sound_file(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).symlink_to(write_seed(tmp_path, bytes(32), "elsewhere"))

    assert "not a regular file" in refusal(tmp_path)


def test_a_directory_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).mkdir(0o700)

    assert "not a regular file" in refusal(tmp_path)


def test_a_fifo_of_that_name_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / IDENTITY_FILE, 0o600)

    assert "not a regular file" in refusal(tmp_path)


def test_a_symlink_to_nothing_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).symlink_to(tmp_path / "nothing")

    refusal(tmp_path)
    assert not (tmp_path / "nothing").exists()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    assert str(missing / IDENTITY_FILE) in refusal(missing)


def test_a_refusal_is_one_line_and_never_shows_the_seed(tmp_path: Path) -> None:
    seed = b"planted-planted-planted-planted-"
    write_seed(tmp_path, seed).chmod(0o644)
    text = refusal(tmp_path)

    assert "\n" not in text
    assert "planted" not in text
    assert seed.hex() not in text


def refusal(state_dir: Path) -> str:
    with pytest.raises(StartError) as refused:
        load_identity(state_dir)
    return str(refused.value)


def write_seed(state_dir: Path, seed: bytes, name: str = IDENTITY_FILE) -> Path:
    (state_dir / "natd.db").touch()
    path = state_dir / name
    path.write_bytes(seed)
    path.chmod(0o600)
    return path
