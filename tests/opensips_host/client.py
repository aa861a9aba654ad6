"""Subscribes to an event with the package `opensips` of PyPI, and prints what comes as JSON, a line each.

client.py EVENT: prints the subscription that it wants, as a command of opensips_host, and waits
for a line that answers it. It ends with its input.
"""

import json
import sys

from opensips.event import OpenSIPSEventHandler


class Host:
    """In place of OpenSIPS's management interface."""

    def execute(self, command, params):
        assert command == "event_subscribe", command
        print("subscribe", *params, flush=True)
        return sys.stdin.readline().strip()


handler = OpenSIPSEventHandler(Host(), "datagram", ip="127.0.0.1", port=0)
event = handler.subscribe(sys.argv[1], lambda what: print(json.dumps(what), flush=True))
print("subscribed", flush=True)
sys.stdin.read()
# Ends the thread that reads.
event.stop()
