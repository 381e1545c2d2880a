#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qmasq-lab-exec against itself on this machine, without a virtual host.

usage: exec_test.py PROGRAM
"""

import contextlib
import hashlib
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = ""


def gone(pid, seconds=10):
    """Whether a process ends in time. A zombie counts as ended: its reaper may be late."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if stat.rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


class Exec(unittest.TestCase):
    """One server for all cases."""

    @classmethod
    def setUpClass(cls):
        cls.labs = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.labs.name) / "default" / "h"
        cls.folder.mkdir(parents=True)
        (cls.folder / "exec.token").write_text("secret\n")
        cls.server = subprocess.Popen(
            [PROGRAM, "serve", "--token-file", cls.folder / "exec.token"],
            stdout=subprocess.PIPE, text=True,
        )
        cls.port = int(cls.server.stdout.readline())
        (cls.folder / "exec.port").write_text(f"{cls.port}\n")

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.server.wait()
        cls.server.stdout.close()
        cls.labs.cleanup()

    def words(self, *argv, options=()):
        """The client's command line."""
        return [PROGRAM, "run", "--labs", self.labs.name, "h", *options, "--", *argv]

    def run_on(self, *argv, options=(), **more):
        """Runs a command through the server to its end."""
        return subprocess.run(
            self.words(*argv, options=options), capture_output=True, timeout=60, check=False, **more
        )

    @contextlib.contextmanager
    def started(self, script):
        """A client whose command runs and has printed its own pid, with that pid."""
        with subprocess.Popen(
            self.words("sh", "-c", "echo $$; " + script), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        ) as client:
            yield client, int(client.stdout.readline())

    def test_streams_and_code(self):
        done = self.run_on("sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, b"out\n", b"err\n"))

    def test_signal_is_128_plus_n(self):
        self.assertEqual(self.run_on("sh", "-c", "kill -9 $$").returncode, 137)

    def test_arguments_pass_unchanged(self):
        odd = ["a b", "", "$HOME", "--", "-t", "ä\n'\""]
        done = self.run_on("printf", "%s|", *odd)
        self.assertEqual(done.stdout.decode(), "".join(word + "|" for word in odd))

    def test_no_such_command(self):
        done = self.run_on("no-such-command")
        self.assertEqual(done.returncode, 127)
        self.assertIn(b"No such file", done.stderr)

    def test_folder_and_environment(self):
        done = self.run_on("sh", "-c", "pwd; echo $A", options=("--cwd", "/usr", "--env", "A=b c"))
        self.assertEqual(done.stdout, b"/usr\nb c\n")
        self.assertEqual(self.run_on("true", options=("--cwd", "/none")).returncode, 126)

    def test_stdin_only_when_asked(self):
        self.assertEqual(self.run_on("cat", input=b"x").stdout, b"")
        self.assertEqual(self.run_on("cat", options=("-i",), input=b"x").stdout, b"x")

    def test_large_both_ways(self):
        data = os.urandom(8 << 20)
        done = self.run_on("cat", options=("-i",), input=data)
        self.assertEqual(hashlib.sha1(done.stdout).digest(), hashlib.sha1(data).digest())

    def test_command_that_does_not_read(self):
        self.assertEqual(self.run_on("true", options=("-i",), input=bytes(4 << 20)).returncode, 0)

    def test_last_output_is_not_lost(self):
        for _ in range(20):
            done = self.run_on("head", "-c", "300000", "/dev/zero")
            self.assertEqual(len(done.stdout), 300000)

    def test_output_is_live(self):
        with self.started("sleep 30") as (client, pid):
            self.assertTrue(Path(f"/proc/{pid}").exists())
            client.kill()
        self.assertTrue(gone(pid))

    def test_group_dies_with_client(self):
        with self.started("trap '' TERM; sleep 60 & echo $!; sleep 60; sleep 60") as (client, pid):
            other = int(client.stdout.readline())
            client.kill()
        self.assertTrue(gone(pid))
        self.assertTrue(gone(other))

    def test_interrupt_reaches_the_command(self):
        with self.started("trap 'echo caught; exit 3' INT; echo ready; sleep 60 & wait") as (client, _):
            self.assertEqual(client.stdout.readline(), b"ready\n")
            client.send_signal(signal.SIGINT)
            self.assertEqual(client.wait(10), 3)
            self.assertEqual(client.stdout.read(), b"caught\n")

    def test_default_interrupt(self):
        with self.started("exec sleep 60") as (client, _):
            client.send_signal(signal.SIGINT)
            self.assertEqual(client.wait(10), 130)

    def test_deaf_command_is_killed_after_terminate(self):
        with self.started("trap '' TERM; echo ready; while :; do sleep 0.1; done") as (client, pid):
            self.assertEqual(client.stdout.readline(), b"ready\n")
            client.send_signal(signal.SIGTERM)
            self.assertEqual(client.wait(10), 143)
        self.assertTrue(gone(pid))

    def test_closed_output_ends_the_command(self):
        with self.started("while :; do echo y; done") as (client, pid):
            client.stdout.close()
            client.wait(10)
        self.assertTrue(gone(pid))

    def test_closed_output_ends_a_silent_command(self):
        with self.started("exec sleep 60") as (client, pid):
            client.stdout.close()
            self.assertEqual(client.wait(10), 141)
        self.assertTrue(gone(pid))

    def test_background_process_is_not_waited_for(self):
        begun = time.monotonic()
        done = self.run_on("sh", "-c", "sleep 20 & echo $!")
        self.assertLess(time.monotonic() - begun, 10)
        os.kill(int(done.stdout), signal.SIGKILL)

    def test_many_at_once(self):
        clients = [
            subprocess.Popen(self.words("sh", "-c", f"sleep 0.2; echo {i}; exit {i}"),
                             stdout=subprocess.PIPE, text=True)
            for i in range(40)
        ]
        for i, client in enumerate(clients):
            out, _ = client.communicate(timeout=60)
            self.assertEqual((out, client.returncode), (f"{i}\n", i))

    def test_terminal(self):
        pid, master = pty.fork()
        if pid == 0:
            os.execv(PROGRAM, self.words("sh", "-c", "test -t 0 && test -t 1 && echo is-a-terminal; "
                                         "read line; echo got-$line; exit 9", options=("-t",)))
        text = b""
        sent = False
        with contextlib.suppress(OSError):
            while chunk := os.read(master, 1024):
                text += chunk
                if b"is-a-terminal" in text and not sent:
                    os.write(master, b"word\r")
                    sent = True
        os.close(master)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 9)
        self.assertIn(b"got-word", text)

    def test_wrong_token_runs_nothing(self):
        other = self.folder.parent / "other"
        other.mkdir()
        (other / "exec.token").write_text("guess\n")
        (other / "exec.port").write_text(f"{self.port}\n")
        words = [PROGRAM, "run", "--labs", self.labs.name, "other", "--", "echo", "ran"]
        done = subprocess.run(words, capture_output=True, timeout=20, check=False)
        self.assertEqual((done.returncode, done.stdout), (255, b""))
        self.assertIn(b"wrong token", done.stderr)

    def test_nonsense_leaves_the_server_well(self):
        frames = [
            b"", b"\0", b"\xff" * 100, struct.pack(">IB", 1, 99), struct.pack(">IB", 0, 1),
            struct.pack(">IB", 5, 1) + b"\xff" * 4, b"GET / HTTP/1.0\r\n\r\n",
        ]
        for frame in frames:
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(frame)
        self.assertEqual(self.run_on("true").returncode, 0)

    def test_no_such_host(self):
        words = [PROGRAM, "run", "--labs", self.labs.name, "nobody", "--", "true"]
        done = subprocess.run(words, capture_output=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 255)
        self.assertIn(b"./x lab up", done.stderr)

    def test_dead_host(self):
        dead = self.folder.parent / "dead"
        dead.mkdir()
        (dead / "exec.token").write_text("secret\n")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # taken, but nobody listens
            (dead / "exec.port").write_text(f"{taken.getsockname()[1]}\n")
            words = [PROGRAM, "run", "--labs", self.labs.name, "dead", "--", "true"]
            done = subprocess.run(words, capture_output=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 255)
        self.assertIn(b"does not answer", done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
