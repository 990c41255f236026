"""Fetching: whole or not at all, whatever the server, the network or a kill does, and right at the next attempt."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from study.data import download as module
from study.data.download import Remote, download, fetched
from study.errors import UsageError
from tests.data.servers import Mood, Server, serving
from tests.processes import within

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as offer:
        yield offer


def fetch(server: Server, final: Path, md5: str | None = None) -> None:
    remote = Remote((f"{server.url}{final.name}",), md5)
    fetched(final, f"put it into {final.parent}", partial(download, remote, final.name))


def seen(folder: Path) -> list[str]:
    """What lies in a folder but for locks, which are empty."""
    locks = [path for path in folder.iterdir() if path.name.endswith(".lock")]
    assert all(path.stat().st_size == 0 for path in locks)
    return sorted(path.name for path in folder.iterdir() if path not in locks)


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("cut", "the connection ended after 524,288 of 1,048,576 bytes"),
        ("unannounced", "its MD5 is .* and should be .*: damaged, or another file"),
        ("wrong", "its MD5 is .* and should be .*: damaged, or another file"),
        ("missing", "HTTP Error 404: Not Found"),
    ],
)
def test_what_does_not_arrive_whole_leaves_nothing_and_the_next_attempt_works(
    server: Server, tmp_path: Path, mood: Mood, reason: str
) -> None:
    md5 = server.holds("data.bin", CONTENT, mood)
    final = tmp_path / "deep" / "data.bin"
    with pytest.raises(UsageError) as refusal:
        fetch(server, final, md5)
    assert seen(final.parent) == []
    pattern = rf"dataset.download=true: {server.url}data.bin could not be fetched \({reason}\); get it by hand and put"
    assert str(refusal.value).count("\n") == 0
    assert pytest.raises(UsageError, match=pattern).matches(refusal.value)
    fetch(server, final, md5)
    fetch(server, final, md5)
    assert final.read_bytes() == CONTENT and seen(final.parent) == ["data.bin"]
    assert server.asked == ["data.bin"] * 2, "what is there is not fetched again"


def test_a_file_of_unknown_checksum_is_refused_by_its_size(server: Server, tmp_path: Path) -> None:
    server.holds("data.bin", CONTENT, "cut")
    with pytest.raises(UsageError, match="the connection ended"):
        fetch(server, tmp_path / "data.bin")
    assert seen(tmp_path) == []


def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(
            UsageError, match=rf"{address}data.bin could not be fetched \(\[Errno.*refused\); get it by hand"
        ):
            fetch(Server(address), tmp_path / "data.bin")


def test_a_server_that_says_no_more_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    server.holds("data.bin", CONTENT, "stuck")
    with pytest.raises(UsageError, match=r"could not be fetched \(timed out\)"):
        fetch(server, tmp_path / "data.bin")
    assert seen(tmp_path) == []


def test_the_second_place_is_asked_where_the_first_fails(server: Server, tmp_path: Path) -> None:
    md5 = server.holds("data.bin", CONTENT)
    remote = Remote((f"{server.url}gone", f"{server.url}data.bin"), md5)
    fetched(tmp_path / "data.bin", "", partial(download, remote, "data.bin"))
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    remote = Remote((f"{server.url}gone", f"{server.url}lost"), md5)
    with pytest.raises(UsageError, match=r"gone could not be .* nor could it from elsewhere: .*lost could not be"):
        fetched(tmp_path / "other", "", partial(download, remote, "other"))


def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(server: Server, tmp_path: Path) -> None:
    md5 = server.holds("data.bin", CONTENT, "stuck")
    final = tmp_path / "data.bin"
    child = os.fork()
    if not child:
        fetch(server, final, md5)
        os._exit(3)
    assert server.halfway.wait(30) and within(30, lambda: any(tmp_path.rglob("data.bin")))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not final.exists() and len(seen(tmp_path)) == 1, "its half lies beside"
    fetch(server, final, md5)
    assert final.read_bytes() == CONTENT
    assert seen(tmp_path) == ["data.bin"], "and goes with the next attempt"


def test_of_two_at_once_one_fetches(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    md5 = server.holds("data.bin", CONTENT, "stuck")

    def broken() -> None:
        with pytest.raises(UsageError, match="the connection ended"):
            fetch(server, tmp_path / "data.bin", md5)

    first = threading.Thread(target=broken)
    first.start()
    assert server.halfway.wait(30)
    caplog.set_level(logging.INFO)
    second = threading.Thread(target=fetch, args=(server, tmp_path / "data.bin", md5))
    second.start()
    assert within(30, lambda: "another process fetches it" in caplog.text)
    assert server.asked == ["data.bin"], "the second waits"
    server.ended.set()
    first.join()
    second.join()
    assert server.asked == ["data.bin"] * 2 and (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_full_disk_is_told_as_such(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "data.bin"))

    monkeypatch.setattr(module, "_copied", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(server, tmp_path / "data.bin")
    assert seen(tmp_path) == []


def test_a_folder_that_takes_no_files_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UsageError, match=rf"{tmp_path}/data/data.bin could not be made .*; get it by hand"):
        fetch(server, tmp_path / "data" / "data.bin")


def test_what_is_not_of_the_name_does_not_stay(tmp_path: Path) -> None:
    fetched(tmp_path / "kept", "", lambda room: [(room / name).write_text("x") for name in ("kept", "archive")])
    assert seen(tmp_path) == ["kept"]
