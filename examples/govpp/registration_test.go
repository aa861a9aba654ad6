package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/core"

	"herald/examples/govpp/binapi/testgovpp"
)

func connect(t *testing.T) *core.Connection {
	socket := os.Getenv("HERALD_API_SOCKET")
	if socket == "" {
		t.Skip("HERALD_API_SOCKET names no socket of a server that serves testgovpp.api")
	}
	conn, err := govpp.Connect(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Disconnect)
	return conn
}

func want(t *testing.T, conn *core.Connection, enable bool, expected error) {
	t.Helper()
	_, err := testgovpp.NewServiceClient(conn).WantCuUpGtpErrorIndEvents(context.Background(),
		&testgovpp.WantCuUpGtpErrorIndEvents{EnableDisable: enable, PID: 7})
	if !errors.Is(err, expected) {
		t.Fatalf("enable %t: %v, expected %v", enable, err, expected)
	}
}

func TestRegisteringTwiceAndLeavingTwiceAreInvalid(t *testing.T) {
	conn := connect(t)
	want(t, conn, false, api.INVALID_REGISTRATION)
	want(t, conn, true, nil)
	want(t, conn, true, api.INVALID_REGISTRATION)
	want(t, conn, false, nil)
	want(t, conn, false, api.INVALID_REGISTRATION)
	want(t, conn, true, nil)
}

func TestRegistrationsAreTheClientsOwn(t *testing.T) {
	first, second := connect(t), connect(t)
	want(t, first, true, nil)
	want(t, second, false, api.INVALID_REGISTRATION)
	want(t, second, true, nil)
	want(t, first, false, nil)
	want(t, second, false, nil)
}

func TestRequestsAreAnsweredWhileEventsCome(t *testing.T) {
	conn := connect(t)
	watcher, err := conn.WatchEvent(context.Background(), &testgovpp.CuUpGtpErrorIndEvent{})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	want(t, conn, true, nil)
	for range 200 {
		if _, err := memclnt.NewServiceClient(conn).ControlPing(context.Background(), &memclnt.ControlPing{}); err != nil {
			t.Fatal(err)
		}
		event := (<-watcher.Events()).(*testgovpp.CuUpGtpErrorIndEvent)
		if event.PID != 7 || event.Data.TeID != 0xdeadbeef || string(event.RawMsgData) != "00000" {
			t.Fatalf("%+v", event)
		}
	}
	if _, err := testgovpp.NewServiceClient(conn).TestgovppEnableDisable(context.Background(),
		&testgovpp.TestgovppEnableDisable{EnableDisable: true}); err != nil {
		t.Fatal(err)
	}
}
