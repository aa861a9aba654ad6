"""A vpp_papi client of testgovpp.api, for the tests. It asks VPP itself for the definitions.

    papi_client.py SOCKET subscribe COUNT [quiet]   the whole conversation, until COUNT events have come
    papi_client.py SOCKET reporter SW_IF_INDEX on|off
"""
import os
import sys
import threading

from vpp_papi import VPPApiClient


class Events:
    """Counts the events, prints each unless told not to, and says when enough have come."""

    def __init__(self, count, quiet):
        self.left = count
        self.quiet = quiet
        self.enough = threading.Event()
        if count == 0:
            self.enough.set()

    def __call__(self, name, event):
        if name != "cu_up_gtp_error_ind_event":
            return
        if not self.quiet:
            data = event.data
            print(
                f"{event.type.name} pid {event.pid} ue {data.ue_id} te {data.te_id:#x} rb {data.rb_id}"
                f" raw {bytes(event.raw_msg_data).hex()}",
                flush=True,
            )
        self.left -= 1
        if self.left == 0:
            self.enough.set()


def subscribe(vpp, count, quiet):
    def want(enable):
        return vpp.api.want_cu_up_gtp_error_ind_events(enable_disable=enable, pid=os.getpid()).retval

    events = Events(count, quiet)
    vpp.register_event_callback(events)
    print("absent", want(False))
    print("subscribed", want(True))
    print("duplicate", want(True), flush=True)
    events.enough.wait()
    print("unsubscribed", want(False))
    print("left", events.left, flush=True)


def main():
    socket, command, *arguments = sys.argv[1:]
    vpp = VPPApiClient(bootstrapapi=True, server_address=socket)
    vpp.connect("herald-test")
    if command == "subscribe":
        subscribe(vpp, int(arguments[0]), "quiet" in arguments)
    else:
        index, switch = arguments
        reply = vpp.api.testgovpp_enable_disable(enable_disable=switch == "on", sw_if_index=int(index))
        print("retval", reply.retval, flush=True)
    vpp.disconnect()


main()
