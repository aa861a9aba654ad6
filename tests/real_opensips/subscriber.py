"""Subscribes to events with the package `opensips` of PyPI, and prints what comes as JSON, a line each.

subscriber.py IP PORT: where OpenSIPS's mi_datagram listens. For each line NAME of standard input it
subscribes to that event and prints "subscribed"; for a line -NAME it ends that subscription and prints
"unsubscribed". It ends with its input.
"""

import json
import sys

from opensips.event import OpenSIPSEventHandler
from opensips.mi import OpenSIPSMI


def say(what):
    print(json.dumps(what), flush=True)


mi = OpenSIPSMI("datagram", datagram_ip=sys.argv[1], datagram_port=sys.argv[2], datagram_timeout=60)
handler = OpenSIPSEventHandler(mi, "datagram", ip="127.0.0.1", port=0)
for line in sys.stdin:
    name = line.strip()
    if name.startswith("-"):
        handler.unsubscribe(name[1:])
        say("unsubscribed")
    else:
        handler.subscribe(name, say)
        say("subscribed")
# Ends the thread that reads.
for event in list(handler.events.values()):
    event.stop()
