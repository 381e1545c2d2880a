# SPDX-License-Identifier: Apache-2.0
"""The few things asked of a running QEMU."""

import contextlib
import json
import os
import re
import socket

from .errors import LabError


@contextlib.contextmanager
def connect(directory, name):
    """A connection to the socket DIRECTORY/NAME."""
    # A socket's path may have 107 bytes; through the folder's descriptor ours is always short.
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(f"/proc/self/fd/{folder}/{name}")
            yield connection
    finally:
        os.close(folder)


def command(directory, execute, /, **arguments):
    """Runs one QMP command over DIRECTORY/qmp.sock and returns its answer."""
    try:
        with connect(directory, "qmp.sock") as connection:
            stream = connection.makefile("rw", encoding="utf-8")
            stream.readline()  # greeting
            for request in ({"execute": "qmp_capabilities"},
                            {"execute": execute, "arguments": arguments}):
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = _answer(stream)
            return answer
    except (OSError, ValueError) as error:
        raise LabError(f"qemu {execute}: {error}") from error


def _answer(stream):
    for line in stream:
        message = json.loads(line)
        if "return" in message:
            return message["return"]
        if "error" in message:
            raise LabError(f"qemu: {message['error'].get('desc')}")
    raise LabError("qemu closed its control socket")


def forwarded_port(directory):
    """The port on 127.0.0.1 that QEMU forwards to the host's command server."""
    text = command(directory, "human-monitor-command", **{"command-line": "info usernet"})
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", text)
    if not found:
        raise LabError(f"qemu forwards no port:\n{text}")
    return int(found.group(1))
