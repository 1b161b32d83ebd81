# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server on the loopback port ARGUMENT whose first thread ends at once when it is told to, and another one a second later.

The threads of any process end one after the other, and what is open is closed with the last of them. This takes its time about it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
import time

LINGER_SECONDS = 1.0


def linger(listener: socket.socket, told: threading.Event) -> None:
    with listener:
        told.wait()
        time.sleep(LINGER_SECONDS)
    os._exit(0)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    told = threading.Event()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    threading.Thread(target=linger, args=(listener, told)).start()
    signal.sigwait([signal.SIGTERM])
    told.set()
    ctypes.CDLL(None).pthread_exit(None)


if __name__ == "__main__":
    main()
