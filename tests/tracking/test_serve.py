import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from study.tracking import serve
from study.tracking.result import Result
from study.tracking.serve import _invite, _views, free_port, has_browser, main
from study.tracking.store import Store
from study.tracking.view import link, views
from tests.processes import within
from tests.tracking.results import PROPERTIES, written


def test_without_a_store_one_sentence_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))

    assert main([]) == 2

    error = capsys.readouterr().err
    told = f"study.tracking.serve: no MLflow store at {tmp_path}/mlruns/mlflow.db yet"
    assert error == f"{told}: `make study` makes one, or any job does\n"
    assert list(tmp_path.iterdir()) == []


def test_views_show_all_that_the_runs_state_the_newest_run_first(tmp_path):
    store = Store(uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    accuracy = PROPERTIES["accuracy"]
    older, newer = {"accuracy": accuracy, "churn": accuracy}, {"accuracy": replace(accuracy, summary=False)}
    for place, properties in enumerate((older, newer, {})):
        folder = written(tmp_path / str(place), str(place), started=1000.0 * (place + 1))
        result = Result.read(folder)
        result.properties = properties
        result.write(folder)
        store.write(folder)

    assert _views(store) == views({"accuracy": newer["accuracy"], "churn": accuracy})
    assert _views(Store(uri=store.uri, experiment="empty")) == {}


@pytest.mark.parametrize("port", ["0", "99999", "-1", "many"])
def test_a_number_that_is_no_port_is_refused(port, capsys):
    with pytest.raises(SystemExit) as ended:
        serve.main([f"--port={port}"])

    assert ended.value.code == 2
    assert "should be a whole number from 1 to 65535" in capsys.readouterr().err


def test_a_port_in_use_is_passed_over():
    first = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()

        assert free_port() > first


@pytest.mark.parametrize(
    ("allowed", "there", "opens", "said"),
    [
        (True, True, True, "Your browser opens the first of them"),
        (True, True, False, "leads to the first"),
        (True, False, True, "leads to the first"),
        (False, True, True, "leads to the first"),
    ],
)
def test_the_browser_opens_at_the_view_where_there_is_one(monkeypatch, capsys, allowed, there, opens, said):
    opened = []
    monkeypatch.setattr(serve, "has_browser", lambda: there)
    monkeypatch.setattr(serve.webbrowser, "open", lambda address: bool(opened.append(address) or opens))

    _invite("http://127.0.0.1:5000", "1", browser=allowed)

    assert opened == [link("http://127.0.0.1:5000", "1", "by_approach")] * (allowed and there)
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("display", "terminal", "expected"), [(":0", True, True), (":0", False, False), ("", True, False)]
)
def test_a_browser_needs_a_terminal_and_a_display(monkeypatch, display, terminal, expected):
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)

    assert has_browser() is expected


def started(home):
    """The UI of a store with one run, as `make ui` starts it; the process and what it printed until it serves."""
    Store(uri=f"sqlite:///{home}/mlruns/mlflow.db").write(written(home / "multirun" / "job"))
    ui = subprocess.Popen(
        [sys.executable, "-m", "study.tracking.serve"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"STUDY_HOME": str(home)},
    )
    printed = ""
    while "Ctrl-C" not in printed and (line := ui.stdout.readline()):
        printed += line
    return ui, printed


def is_answered(address):
    try:
        return urllib.request.urlopen(f"{address}/health", timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_server_ends_with_the_terminal_and_with_the_process_that_started_it(tmp_path, number, code):
    ui, printed = started(tmp_path)
    try:
        address = re.findall(r"every run: +(http://127\.0\.0\.1:\d+)/", printed)[0]
        assert is_answered(address)
    finally:
        ui.send_signal(number)
        assert ui.wait(20) == code
    assert within(10, lambda: not is_answered(address))


@pytest.mark.parametrize("nohup", [False, True])
def test_the_end_of_the_terminal_stops_it_unless_it_was_started_to_outlive_it(tmp_path, monkeypatch, nohup):
    handlers = {signal.SIGHUP: signal.SIG_IGN if nohup else signal.SIG_DFL}
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))
    monkeypatch.setattr(serve.signal, "getsignal", handlers.get)
    monkeypatch.setattr(serve.signal, "signal", handlers.__setitem__)
    (tmp_path / "mlruns").mkdir()

    assert serve._serve([sys.executable, "-c", "pass"], "http://127.0.0.1:1", "1", {}, browser=False) == 1

    assert (handlers[signal.SIGHUP] == signal.SIG_IGN) is nohup
    assert handlers[signal.SIGTERM] == handlers[signal.SIGINT] == serve._interrupt


@pytest.mark.slow
def test_the_ui_answers_on_loopback_and_stops_on_ctrl_c(tmp_path):
    server, printed = started(tmp_path)
    try:
        address = re.findall(r"by approach.*(http://127\.0\.0\.1:\d+)/#/experiments/1/runs\?", printed)[0]
        body = json.dumps({"experiment_ids": ["1"]}).encode()
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            (run,) = json.load(answer)["runs"]
        assert run["info"]["run_name"] == "arachne digits k0"
        with urllib.request.urlopen(address) as answer:
            page = answer.read().decode()
        assert link("", "1", "by_approach").removeprefix("/") in page
        script = re.findall(r'src="(static-files/[^"]+)"', page)[0]
        assert urllib.request.urlopen(f"{address}/{script}").status == 200
        foreign = urllib.request.Request(address, headers={"Host": "elsewhere.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address)
