"""What vpp_papi and a server say to each other: `conversation.py NAME SOCKET [APIDIR]` has one of the
conversations below, and fails with an assertion if it does not go as with VPP. Without APIDIR the client
asks the server for its API."""
import os
import queue
import socket
import sys
import time

from vpp_papi import VPPApiClient

SOON = 60
INVALID_REGISTRATION = -31
EVENT = "cu_up_gtp_error_ind_event"


class Client:
    """A client, and the events that it has been sent."""

    def __init__(self, path, apidir, name="conversation"):
        self.vpp = VPPApiClient(apidir=apidir, bootstrapapi=apidir is None, server_address=path, read_timeout=SOON)
        self.events = queue.SimpleQueue()
        self.vpp.register_event_callback(lambda name, event: self.events.put((name, event)))
        self.name = name
        self.vpp.connect(name)

    @property
    def api(self):
        return self.vpp.api

    def want(self, enable, pid=0):
        return self.api.want_cu_up_gtp_error_ind_events(enable_disable=enable, pid=pid).retval

    def event(self, wanted=EVENT):
        while True:
            name, event = self.events.get(timeout=SOON)
            if name == wanted:
                return event

    def subscriber(self):
        """The line of herald_stats_dump that is about this client."""
        found = [line for line in self.api.herald_stats_dump() if line.subscriber == self.name]
        assert len(found) == 1, found
        return found[0]


def whole(path, apidir):
    client = Client(path, apidir)
    api = client.api

    version = api.show_version()
    assert (version.retval, version.program) == (0, "herald") and version.version, version
    ping = api.control_ping()
    assert ping.retval == 0 and ping.client_index & 0x80000000 and ping.vpe_pid > 0, ping
    assert api.memclnt_keepalive().retval == 0
    modules = {module.name: module for module in api.api_versions().api_versions}
    assert {"memclnt.api", "vpe.api", "herald.api", "testgovpp.api"} <= set(modules), modules
    assert (modules["testgovpp.api"].major, modules["testgovpp.api"].minor) == (0, 1)
    unknown = api.get_first_msg_id(name="nothing_00000000")
    assert unknown.retval < 0 and unknown.first_msg_id == 0xFFFF, unknown
    assert api.testgovpp_enable_disable(enable_disable=True, sw_if_index=3).retval == 0

    assert client.want(False) == INVALID_REGISTRATION
    assert client.want(True, 42) == 0
    assert client.want(True, 43) == INVALID_REGISTRATION
    first = client.event()
    assert (first.pid, first.client_index) == (42, ping.client_index), first
    assert (first.type.name, first.data.te_id, first.data.rb_id) == ("CU_UP_EVENT_GTP_ERROR_IND", 0xDEADBEEF, 5), first
    assert (first.raw_msg_len, first.raw_msg_data) == (9, b"0" * 9), first
    for number in range(1, 20):
        assert client.event().data.ue_id == first.data.ue_id + number

    line = client.subscriber()
    assert (line.transport, line.dropped) == ("vpp_api", 0) and line.delivered >= 20, line

    assert client.want(False) == 0
    assert client.want(False) == INVALID_REGISTRATION
    assert api.control_ping().retval == 0
    while not client.events.empty():
        client.events.get()
    delivered = client.subscriber().delivered
    for _ in range(20):
        assert api.control_ping().retval == 0
    assert client.events.empty() and client.subscriber().delivered == delivered
    assert client.vpp.disconnect().response == 1


def again(path, apidir):
    """Reconnecting: registrations end with the connection, also with one that is not ended properly."""
    client = Client(path, apidir)
    ids = client.vpp.transport.message_table.copy()
    for _ in range(5):
        assert client.want(True, 1) == 0
        client.event()
        client.vpp.disconnect()
        client.vpp.connect("conversation")
        assert client.vpp.transport.message_table == ids
    client.vpp.transport.socket.shutdown(socket.SHUT_RDWR)
    client.vpp.disconnect()
    client = Client(path, apidir)
    assert client.want(True, 2) == 0
    while client.event().pid != 2:
        pass
    client.vpp.disconnect()


def health(path, apidir):
    """Ten minutes of a health check a second, with events in between."""
    client = Client(path, apidir)
    assert client.want(True) == 0
    for number in range(600):
        assert client.api.control_ping().retval == 0
        if number % 100 == 0:
            client.event()
    assert client.want(False) == 0
    client.vpp.disconnect()


def burst(path, apidir):
    """Health checks in a burst of events that the client does not keep up with."""
    client = Client(path, apidir)
    client.vpp.register_event_callback(lambda name, event: None)
    assert client.want(True) == 0
    deadline = time.monotonic() + 60
    while client.subscriber().dropped == 0:
        assert time.monotonic() < deadline, "there is no burst"
        assert client.api.control_ping().retval == 0
    for _ in range(5):
        assert client.api.control_ping().retval == 0
    assert client.want(False) == 0
    client.vpp.disconnect()


def losses(path, apidir):
    """A client that asks is told how much it missed, where it missed it."""
    client = Client(path, apidir)
    assert client.api.want_herald_events_lost(enable_disable=True, pid=7).retval == 0
    assert client.api.want_herald_events_lost(enable_disable=True, pid=7).retval == INVALID_REGISTRATION
    assert client.want(True) == 0
    expected, told = client.event().data.ue_id, 0
    while told < 3:
        name, event = client.events.get(timeout=SOON)
        if name == "herald_events_lost":
            assert event.pid == 7 and event.count > 0, event
            expected += event.count
            told += 1
        elif name == EVENT:
            expected += 1
            assert event.data.ue_id == expected, (event, expected)
    client.vpp.disconnect()


def l2tp(path, apidir):
    """Herald's own module, in a daemon that Herald is loaded into."""
    client = Client(path, apidir)
    assert client.api.want_l2tp_session_events(enable_disable=True, pid=8).retval == 0
    assert client.api.want_herald_events(enable_disable=True, pid=9, filter="E_L2TP_TUNNEL_*,*_UP").retval == 0
    print("ready", flush=True)
    typed = [client.event("l2tp_session_event") for _ in range(4)]
    kinds = [event.kind.name.removeprefix("L2TP_EVENT_SESSION_") for event in typed]
    assert kinds == ["CREATED", "UP", "DOWN", "DELETED"], typed
    assert all((event.pid, event.tunnel_id, event.session_id) == (8, 1, 2) for event in typed), typed
    assert [event.sequence for event in typed] == list(range(typed[0].sequence, typed[0].sequence + 4))
    client.vpp.disconnect()

    client = Client(path, apidir)
    assert client.api.want_herald_events(enable_disable=True, pid=9, filter="E_L2TP_TUNNEL_*,*_UP").retval == 0
    print("ready", flush=True)
    event = client.event("herald_event")
    assert (event.name, event.pid, event.count) == ("E_L2TP_SESSION_UP", 9, 4), event
    params = {param.name: (param.type.name, param.number) for param in event.params}
    assert params["session_id"] == ("HERALD_PARAM_UINT", 2), params
    client.vpp.disconnect()


if __name__ == "__main__":
    _, name, path, *apidir = sys.argv
    globals()[name](path, *(apidir or [None]))
    # vpp_papi's clean-up at exit waits for servers that are gone.
    sys.stdout.flush()
    os._exit(0)
