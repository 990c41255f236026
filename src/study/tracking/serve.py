"""`python -m study.tracking.serve`: MLflow's own UI on the local store, on loopback only, at ready-made views."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Mapping, Sequence
from types import FrameType

from study.errors import UsageError
from study.metrics.description import Description
from study.storage import paths
from study.tracking import database
from study.tracking.front import HOST
from study.tracking.run import stated
from study.tracking.store import Store
from study.tracking.view import link, views

START = "by_approach"
"""The view that the bare address leads to."""
FIRST_PORT, TRIED_PORTS = 5000, 50
START_SECONDS = 120
"""How long the server may take to answer; some seconds on an idle machine."""
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # otherwise ten processes and 2.4 GB
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the server, 0 after Ctrl-C, 2 after one sentence on stderr where there is nothing to serve."""
    options = _parser().parse_args(arguments)
    store = Store(experiment=options.experiment)
    try:
        command, address, found = _prepare(store, options.port)
    except UsageError as refusal:
        print(f"study.tracking.serve: {refusal}", file=sys.stderr)
        return 2
    if sentence := store.moved():
        print(f"Pictures and models will be missing: {sentence}")
    return _serve(command, address, found, _views(store), browser=options.browser)


def _prepare(store: Store, port: int | None) -> tuple[list[str], str, str]:
    """The server's command line, its address and the experiment's id.

    Raises:
        UsageError: There is no store or no experiment, the store is of another MLflow, or the port is taken.
    """
    if store.database is None or not store.database.is_file():
        raise UsageError(f"no MLflow store at {store.database} yet: `make study` makes one, or any job does")
    store.mend()
    found = database.experiment_id(store.database, store.experiment)
    if found is None:
        raise UsageError(f"no experiment {store.experiment!r} in {store.database} yet: `make study` makes one")
    chosen = free_port() if port is None else port
    if port is not None and not _is_free(port):
        raise UsageError(f"--port {port} is taken: leave it out to get the next free one")
    start = link("", found, START).removeprefix("/")
    own = [sys.executable, "-m", "study.tracking.front", str(os.getpid())]
    command = [*own, store.uri, str(store.artifacts), str(chosen), start]
    return command, f"http://{HOST}:{chosen}", found


def _views(store: Store) -> dict[str, str]:
    """Views of all that the store's runs state, none where they state nothing."""
    runs = database.tags(store.database, store.experiment) if store.database else []
    properties: dict[str, Description] = {}
    for tags in reversed(runs):  # what the newest run states comes last and counts
        properties |= stated(tags)
    return views(properties) if properties else {}


def _serve(command: list[str], address: str, experiment: str, ready: Mapping[str, str], *, browser: bool) -> int:
    """Run the server until it ends, or until Ctrl-C, SIGTERM or the end of the terminal (SIGHUP), which stop it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT is ignored where a shell starts this in the background
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # that is how nohup starts it
        signal.signal(signal.SIGHUP, _interrupt)
    log = paths.mlruns() / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, env=os.environ | ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
        )
    try:
        print(f"Starting MLflow at {address} (its messages: {log})", flush=True)
        if not _answers(address, server):
            print(f"MLflow's server did not start: {log} says why", file=sys.stderr)
            return 1
        _write_views(address, experiment, ready)
        _invite(address, experiment, browser=browser)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _invite(address: str, experiment: str, *, browser: bool) -> None:
    """Say where the views are, and open the first of them in the user's browser if there is one."""
    start = link(address, experiment, START)
    print(f"  by approach, averaged over seeds: {start}")
    print(f"  the same as charts:               {link(address, experiment, START, charts=True)}")
    print(f"  every run:                        {link(address, experiment, 'runs')}")
    if browser and has_browser() and webbrowser.open(start):
        print("Your browser opens the first of them (--no-browser: it stays closed).")
    else:
        print(f"Open one of them in a browser; {address} leads to the first.")
    print("Ctrl-C stops it.", flush=True)


def has_browser() -> bool:
    """Whether somebody sits at this machine: a terminal to read from, and a display."""
    display = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(display) and sys.stdout.isatty()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's whole process group, by force after five seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is not None:
            return
        os.killpg(server.pid, number)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            continue


def _answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; False if it ended or never did."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.3)
    return False


def _write_views(address: str, experiment: str, ready: Mapping[str, str]) -> None:
    """Bring the views of an older store up to date, over the server's own interface."""
    for name, value in ready.items():
        body = json.dumps({"experiment_id": experiment, "key": name, "value": value}).encode()
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/experiments/set-experiment-tag", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()


def free_port() -> int:
    """The first free port from 5000 on.

    Raises:
        UsageError: None of fifty is free.
    """
    for port in range(FIRST_PORT, FIRST_PORT + TRIED_PORTS):
        if _is_free(port):
            return port
    raise UsageError(f"no free port from {FIRST_PORT} to {FIRST_PORT + TRIED_PORTS - 1}: name one with --port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is no port: should be a whole number from 1 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.tracking.serve",
        description="Browse the runs in MLflow's UI, on this machine only.",
        epilog="HOME is $STUDY_HOME or the current folder; the store is HOME/mlruns/mlflow.db.",
    )
    parser.add_argument("--port", type=_port, metavar="NUMBER", help=f"default: {FIRST_PORT} or the next free one")
    parser.add_argument("--experiment", metavar="NAME", default="study", help="MLflow experiment (default: study)")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="print the addresses alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
