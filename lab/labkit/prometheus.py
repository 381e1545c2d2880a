# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus, unpacked but not installed (its package would start a service), and one
server of it on loopback that scrapes a lab's hosts."""

import fcntl
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .errors import LabError
from .paths import REPO
from .process import Process

_UNPACKED = REPO / "build" / "prometheus"
_START_SECONDS = 30
# Asks the agent as `curl` would, without starting an emulated processor's worth of libraries.
_GET = """
exec 3<>/dev/tcp/127.0.0.1/$0 || exit 1
printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3
exec cat <&3
"""


def get(say):
    """Folder with the programs `prometheus` and `promtool`; downloads them the first time."""
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    with open(_UNPACKED / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = _UNPACKED / "bin"
        if not programs.exists():
            _unpack(programs, say)
    return programs


def _unpack(programs, say):
    with tempfile.TemporaryDirectory(dir=_UNPACKED) as folder:
        say("downloading Debian's package prometheus")
        fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        # Package lists may be absent on a new machine, or so old that their files are gone.
        if subprocess.run(fetch, cwd=folder, capture_output=True, check=False).returncode != 0:
            _run(["apt-get", "-q", "update"], folder)
            _run(fetch, folder)
        archives = list(Path(folder).glob("prometheus_*.deb"))
        if len(archives) != 1:
            raise LabError(f"apt-get download prometheus left {len(archives)} packages")
        root = Path(folder) / "root"
        _run(["dpkg-deb", "-x", archives[0], root], folder)
        fresh = Path(folder) / "bin"
        fresh.mkdir()
        for name in ("prometheus", "promtool"):
            shutil.move(root / "usr" / "bin" / name, fresh / name)
        fresh.rename(programs)


def _run(argv, folder):
    done = subprocess.run([str(word) for word in argv], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}")


def promtool(*words, say=print, cwd=None):
    """Runs promtool to its end: subprocess.CompletedProcess with text in stdout and stderr."""
    return subprocess.run([get(say) / "promtool", *map(str, words)], cwd=cwd, capture_output=True,
                          text=True, check=False)


class Relay:
    """Metrics of a lab's programs on a loopback port of this machine: GET /HOST/PORT.

    The programs listen on 127.0.0.1 of their hosts, where nothing from outside arrives; each request is
    carried in by a command and the answer is handed on byte for byte. A context manager.
    """

    def __init__(self, lab):
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One scrape."""

            def do_GET(self):  # pylint: disable=invalid-name
                """Answers with what the program on the host answered, else 502."""
                relay.answer(self, lab)

            def log_message(self, *_):  # pylint: disable=arguments-differ
                """A scrape each second is nothing to tell."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self):
        """IP:PORT."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @staticmethod
    def answer(request, lab):
        """Carries one request; any thread."""
        found = re.fullmatch(r"/(host[A-Z])/(\d+)", request.path)
        if not found:
            request.send_error(404)
            return
        try:
            text = scrape(lab, *found.groups())
        except LabError as error:
            request.send_error(502, explain=str(error))
            return
        body = text.encode()
        request.send_response(200)
        request.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        try:
            request.end_headers()
            request.wfile.write(body)
        except BrokenPipeError:
            pass  # the host was slow, and the server has given this scrape up

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def scrape(lab, host, port):
    """What a program on a host exposes now: the text of its /metrics."""
    answer = lab.check(host, ["bash", "-c", _GET, str(port)], timeout=30)
    head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
    if not re.match(r"HTTP/1\.[01] 200 ", head):
        raise LabError(f"{host} port {port}: {head.splitlines()[:1]}")
    return body


class Prometheus:
    """A server on a free port of loopback, with its data below `folder`. A context manager.

    `targets`: job -> list of (instance, "IP:PORT", path). `rules`: files, evaluated at each scrape.
    """

    def __init__(self, folder, targets, rules=(), interval="1s", say=print):
        self._folder = Path(folder)
        self._process = Process(self._folder / "prometheus.json")
        self._programs = get(say)
        self._folder.mkdir(parents=True, exist_ok=True)
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval,
                       "evaluation_interval": interval},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [
                    {"targets": [address], "labels": {"instance": instance, "__metrics_path__": path}}
                    for instance, address, path in members]}
                for job, members in targets.items()],
        }
        # JSON is YAML.
        (self._folder / "prometheus.yml").write_text(json.dumps(config, indent=2))
        self.address = f"127.0.0.1:{_free_port()}"

    def __enter__(self):
        self._process.start(
            [str(self._programs / "prometheus"), f"--config.file={self._folder / 'prometheus.yml'}",
             f"--storage.tsdb.path={self._folder / 'data'}", f"--web.listen-address={self.address}",
             "--log.level=warn"],
            self._folder, self._folder / "prometheus.log", dies_with_us=True)
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5):
                    return self
            except OSError:
                pass
            if self._process.pid() is None or time.monotonic() > until:
                self._process.end()
                log = (self._folder / "prometheus.log").read_text()
                raise LabError(f"prometheus did not start on {self.address}\n{log[-4000:]}")
            time.sleep(0.1)

    def __exit__(self, *_):
        self._process.end(grace=10)

    def query(self, expression, at=None):
        """An instant query: list of {"metric": labels, "value": [time, text]}."""
        return self._api("query", query=expression, **({} if at is None else {"time": at}))["result"]

    def query_range(self, expression, start, end, step):
        """A range query: list of {"metric": labels, "values": [[time, text], ...]}."""
        return self._api("query_range", query=expression, start=start, end=end, step=step)["result"]

    def series(self, selector, start, end):
        """Label sets of the series that a selector matched in that time."""
        return self._api("series", start=start, end=end, **{"match[]": selector})

    def targets(self):
        """Active targets as the server sees them."""
        return self._api("targets")["activeTargets"]

    def _api(self, what, **parameters):
        url = f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise LabError(f"{what} {parameters}: {error.read().decode(errors='replace')}") from None


def _free_port():
    """A port that was free a moment ago: Prometheus cannot be asked which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def data_folder(lab):
    """Where the server that watches a lab keeps its data; made anew."""
    folder = lab.folder / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder
