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
from tests.tracking.results import PROPERTIES, written


def test_without_a_store_one_sentence_says_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STUDY_HOME", str(tmp_path))

    assert main([]) == 2

    error = capsys.readouterr().err
    assert error == f"no MLflow store at {tmp_path}/mlruns/mlflow.db yet: `make study` makes one, or any job does\n"
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


@pytest.mark.slow
def test_the_ui_answers_on_loopback_and_stops_on_ctrl_c(tmp_path):
    Store(uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db").write(written(tmp_path / "multirun" / "job"))
    server = subprocess.Popen(
        [sys.executable, "-m", "study.tracking.serve"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"STUDY_HOME": str(tmp_path)},
    )
    assert server.stdout is not None
    try:
        printed = ""
        while "Ctrl-C" not in printed and (line := server.stdout.readline()):
            printed += line
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
