#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""qmasq-lab-wire with made-up stations. usage: switch_test.py PROGRAM"""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = ""


def frame(to, source, body=b"x" * 50):
    """An Ethernet frame between stations given by their last byte; 255 is broadcast."""
    def address(last):
        return b"\xff" * 6 if last == 255 else bytes([2, 0, 0, 0, 0, last])
    return address(to) + address(source) + b"\x08\x00" + body


class Station:
    """One port of the switch."""

    def __init__(self, path):
        until = time.monotonic() + 10
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                # Not there yet, or there and not listening.
                self.socket.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def send(self, data):
        """Sends one frame."""
        self.socket.sendall(struct.pack(">I", len(data)) + data)

    def receive(self, seconds=5.0):
        """The next frame, or None when none comes in time."""
        self.socket.settimeout(seconds)
        try:
            size = struct.unpack(">I", self._exactly(4))[0]
            return self._exactly(size)
        except socket.timeout:
            return None

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise ConnectionError("the switch hung up")
            data += chunk
        return data


class Switch(unittest.TestCase):
    """A switch with three stations, of which each has spoken once."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "s")
        self.process = subprocess.Popen([PROGRAM, path])
        self.path = path
        self.stations = []
        self.addCleanup(self.clean_up)
        for number in range(3):
            # Stations that are there already hear each newcomer, which proves that it is plugged in.
            station = Station(path)
            station.send(frame(255, number))
            for other in self.stations:
                self.assertEqual(other.receive(), frame(255, number))
            self.stations.append(station)

    def clean_up(self):
        """Also when a station could not be plugged in: what holds our output open holds up ctest."""
        for station in self.stations:
            station.socket.close()
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def test_known_station_only(self):
        a, b, c = self.stations
        a.send(frame(1, 0))
        self.assertEqual(b.receive(), frame(1, 0))
        self.assertIsNone(c.receive(0.2))
        self.assertIsNone(a.receive(0.1))

    def test_unknown_station_floods(self):
        a, b, c = self.stations
        a.send(frame(99, 0))
        self.assertEqual(b.receive(), frame(99, 0))
        self.assertEqual(c.receive(), frame(99, 0))

    def test_largest_frames_in_order(self):
        a, b, _ = self.stations
        sent = [frame(1, 0, bytes([i]) * 65000) for i in range(60)]
        for one in sent:
            a.send(one)
        self.assertEqual([b.receive() for _ in sent], sent)

    def test_station_that_never_reads_holds_up_nobody(self):
        a, b, _ = self.stations
        for _ in range(300):  # some 20 MB, more than any queue
            a.send(frame(2, 0, bytes(65000)))
        a.send(frame(1, 0))
        self.assertEqual(b.receive(), frame(1, 0))

    def test_station_goes_and_comes_back(self):
        a, b, _ = self.stations
        b.socket.close()
        time.sleep(0.05)
        again = Station(self.path)
        self.stations.append(again)
        again.send(frame(0, 1))
        self.assertEqual(a.receive(), frame(0, 1))
        a.send(frame(1, 0))
        self.assertEqual(again.receive(), frame(1, 0))

    def test_nonsense_costs_only_its_sender(self):
        a, b, c = self.stations
        c.socket.sendall(b"\xff" * 64)
        with self.assertRaises(ConnectionError):
            c.receive()
        a.send(frame(1, 0))
        self.assertEqual(b.receive(), frame(1, 0))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
