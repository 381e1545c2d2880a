# SPDX-License-Identifier: Apache-2.0
"""Speaks the keeper's protocol (keeper/protocol.h) on a lab host: put N | list | drop.

A second implementation of it, from its description alone.
"""

import json
import os
import socket
import struct
import sys

HEADER = struct.Struct("<IHHQII")
MAGIC, VERSION = 0x504B4D51, 1
HELLO, LIST, PUT, DROP = 1, 2, 3, 5
WELCOME, WAIT, HELD, DONE = 0x81, 0x82, 0x84, 0x85


class Keeper:
    """One session."""

    def __init__(self, path="/run/qmasq/keeper.sock"):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(10)
        self._socket.connect(path)
        self._send(HELLO)
        kind = WAIT
        while kind == WAIT:
            kind = self._receive()[0]
        assert kind == WELCOME, kind

    def _send(self, kind, number=0, text=b"", descriptors=()):
        packet = HEADER.pack(MAGIC, VERSION, kind, number, 0, len(text)) + text
        socket.send_fds(self._socket, [packet], list(descriptors))

    def _receive(self):
        packet, descriptors, _, _ = socket.recv_fds(self._socket, 8192, 1)
        magic, version, kind, number, outcome, size = HEADER.unpack(packet[:HEADER.size])
        assert (magic, version, outcome, size) == (MAGIC, VERSION, 0, len(packet) - HEADER.size), packet
        return kind, number, packet[HEADER.size:], descriptors

    def put(self, tag, descriptor):
        """Its id."""
        self._send(PUT, text=tag.encode(), descriptors=[descriptor])
        kind, number, _, _ = self._receive()
        assert kind == DONE
        return number

    def list(self):
        """(id, tag, descriptor) of each."""
        self._send(LIST)
        out = []
        while True:
            kind, number, tag, descriptors = self._receive()
            if kind == DONE:
                assert number == len(out)
                return out
            assert kind == HELD
            out.append((number, tag.decode(errors="replace"), descriptors[0]))

    def drop(self, number):
        """Gives one up."""
        self._send(DROP, number)
        assert self._receive()[0] == DONE


def main():
    """Does what the arguments say with memory files: "file I", tagged "tag I"."""
    keeper = Keeper()
    if sys.argv[1] == "put":
        for i in range(int(sys.argv[2])):
            descriptor = os.memfd_create("held")
            os.write(descriptor, f"file {i}".encode())
            keeper.put(f"tag {i}", descriptor)
            os.close(descriptor)
    # What a real agent left there is none of ours.
    held = [each for each in keeper.list() if each[1].startswith("tag ")]
    if sys.argv[1] == "list":
        print(json.dumps({"tags": [tag for _, tag, _ in held],
                          "contents": [os.pread(descriptor, 100, 0).decode() for _, _, descriptor in held]}))
    if sys.argv[1] == "drop":
        for number, _, _ in held:
            keeper.drop(number)


if __name__ == "__main__":
    main()
