// Command govpp subscribes to the GTP error indications of testgovpp.api and prints each. It talks to a
// program that serves the API with Herald, and to a VPP that has the plugin, in the same way.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.fd.io/govpp/adapter/socketclient"
	"go.fd.io/govpp/core"

	"herald/examples/govpp/binapi/testgovpp"
)

//go:generate mkdir -p api
//go:generate cargo run --quiet --package herald-vpp-api --bin herald-apigen -- ../../c_examples/api/testgovpp.api --json api/testgovpp.api.json
//go:generate cargo run --quiet --package herald-vpp-api --bin herald-apigen -- ../../vpp-api/api/interface_types.api --json api/interface_types.api.json
//go:generate cargo run --quiet --package herald-vpp-api --bin herald-apigen -- ../../vpp-api/api/memclnt.api --json api/memclnt.api.json
//go:generate go tool binapi-generator --input=api --output-dir=binapi --import-prefix=herald/examples/govpp/binapi --no-version-info --no-source-path-info testgovpp

type options struct {
	socket   string
	count    uint64
	buffer   int
	quiet    bool
	pings    int
	probe    time.Duration
	attempts int
}

func main() {
	var o options
	flag.StringVar(&o.socket, "socket", socketclient.DefaultSocketName, "`path` of the API socket")
	flag.Uint64Var(&o.count, "count", 0, "unsubscribe after this many `events`; 0: when interrupted")
	flag.IntVar(&o.buffer, "buffer", 65536, "room for `events` that wait to be printed; GoVPP drops what does not fit")
	flag.BoolVar(&o.quiet, "quiet", false, "print the number of events, their rate and how many are missing instead of each event")
	flag.IntVar(&o.pings, "pings", 0, "send this many control pings one after another, print their rate and leave")
	flag.DurationVar(&o.probe, "probe", core.HealthCheckProbeInterval, "`time` between GoVPP's health checks")
	flag.IntVar(&o.attempts, "attempts", core.DefaultMaxReconnectAttempts, "attempts to reconnect before giving up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "govpp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	core.HealthCheckProbeInterval = o.probe
	conn, states, err := core.AsyncConnect(socketclient.NewVppClient(o.socket), o.attempts, core.DefaultReconnectInterval)
	if err != nil {
		return err
	}
	defer conn.Disconnect()

	first := <-states
	if first.State != core.Connected {
		return fmt.Errorf("%s: %s: %w", o.socket, first.State, first.Error)
	}
	fmt.Println("connected")
	if o.pings > 0 {
		return ping(ctx, conn, o.pings)
	}

	// Watch before subscribing: the first event may arrive together with the reply.
	watcher, err := conn.WatchEventWithOptions(context.Background(), &testgovpp.CuUpGtpErrorIndEvent{},
		core.WithEventBufferSize(o.buffer), core.WithNotifBufferSize(o.buffer))
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := subscribe(ctx, conn, true); err != nil {
		return err
	}

	var tally tally
	for o.count == 0 || tally.events < o.count {
		select {
		case message := <-watcher.Events():
			event := message.(*testgovpp.CuUpGtpErrorIndEvent)
			tally.add(event.Data.UeID)
			if !o.quiet {
				printEvent(event)
			}
		case change := <-states:
			fmt.Println(describe(change))
			switch change.State {
			case core.Failed:
				return fmt.Errorf("%s: %w", o.socket, change.Error)
			case core.Connected:
				// The watcher goes on, since message ids are the same after a restart. The registration is the
				// server's and went with the connection.
				if err := subscribe(ctx, conn, true); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			tally.print()
			return subscribe(context.Background(), conn, false)
		}
	}
	tally.print()
	return subscribe(ctx, conn, false)
}

func subscribe(ctx context.Context, conn *core.Connection, enable bool) error {
	_, err := testgovpp.NewServiceClient(conn).WantCuUpGtpErrorIndEvents(ctx, &testgovpp.WantCuUpGtpErrorIndEvents{
		EnableDisable: enable,
		PID:           uint32(os.Getpid()),
	})
	word := map[bool]string{true: "subscribed", false: "unsubscribed"}[enable]
	if err != nil {
		return fmt.Errorf("not %s: %w", word, err)
	}
	fmt.Println(word)
	return nil
}

func printEvent(e *testgovpp.CuUpGtpErrorIndEvent) {
	fmt.Printf("%s pid %d ue %d te %#x rb %d raw %x\n", e.Type, e.PID, e.Data.UeID, e.Data.TeID, e.Data.RbID, e.RawMsgData)
}

func describe(change core.ConnectionEvent) string {
	switch change.State {
	case core.Connected:
		return "connected"
	case core.NotResponding:
		return "not responding"
	case core.Disconnected:
		return "disconnected"
	default:
		return "failed"
	}
}

// tally counts events and the time from the first to the last, and how many are missing in between: the host
// counts its events in their ue_id.
type tally struct {
	events, missing uint64
	first, last     time.Time
	next            uint32
}

func (t *tally) add(ue uint32) {
	t.last = time.Now()
	if t.events == 0 {
		t.first = t.last
	} else {
		t.missing += uint64(ue - t.next)
	}
	t.events++
	t.next = ue + 1
}

func (t *tally) print() {
	rate := 0.0
	if span := t.last.Sub(t.first).Seconds(); span > 0 {
		rate = float64(t.events-1) / span
	}
	fmt.Printf("%d events, %.0f per second, %d missing\n", t.events, rate, t.missing)
}
