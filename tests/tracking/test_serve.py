import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace

import pytest

from study.tracking.result import Result
from study.tracking.serve import _views, free_port, main
from study.tracking.store import Store
from study.tracking.view import views
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
        address = re.findall(r"by method.*(http://127\.0\.0\.1:\d+)/#/experiments/1/runs\?", printed)[0]
        body = json.dumps({"experiment_ids": ["1"]}).encode()
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            (run,) = json.load(answer)["runs"]
        assert run["info"]["run_name"] == "arachne digits k0"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address)
