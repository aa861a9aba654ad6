// Command sessions prints what happens to the L2TP sessions and tunnels of an openl2tpd that has Herald
// loaded, and serves the API: [vpp_api] in herald.toml.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/core"

	"herald/examples/govpp/binapi/herald"
)

//go:generate mkdir -p ../api
//go:generate cargo run --quiet --package herald-vpp-api --bin herald-apigen -- ../../../vpp-api/api/herald.api --json ../api/herald.api.json
//go:generate go tool binapi-generator --input=../api --output-dir=../binapi --import-prefix=herald/examples/govpp/binapi --no-version-info --no-source-path-info --gen= herald

func main() {
	socket := flag.String("socket", "/run/herald/api.sock", "`path` of the API socket")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := watch(ctx, *socket); err != nil {
		fmt.Fprintln(os.Stderr, "sessions:", err)
		os.Exit(1)
	}
}

func watch(ctx context.Context, socket string) error {
	conn, err := govpp.Connect(socket)
	if err != nil {
		return err
	}
	defer conn.Disconnect()
	// Watch before subscribing: the first event may arrive together with the reply.
	sessions, err := watcher(conn, &herald.L2tpSessionEvent{})
	if err != nil {
		return err
	}
	losses, err := watcher(conn, &herald.HeraldEventsLost{})
	if err != nil {
		return err
	}
	var reply herald.WantL2tpSessionEventsReply
	if err := conn.Invoke(ctx, &herald.WantL2tpSessionEvents{EnableDisable: true}, &reply); err != nil {
		return err
	}
	if err := api.RetvalToVPPApiError(reply.Retval); err != nil {
		return err
	}
	fmt.Println("watching")
	for {
		select {
		case message := <-sessions.Events():
			event := message.(*herald.L2tpSessionEvent)
			fmt.Printf("%d %s tunnel %d session %d\n", event.Sequence, event.Kind, event.TunnelID, event.SessionID)
		case message := <-losses.Events():
			fmt.Println(message.(*herald.HeraldEventsLost).Count, "events lost")
		case <-ctx.Done():
			return nil
		}
	}
}

func watcher(conn *core.Connection, event api.Message) (api.Watcher, error) {
	const room = 65536
	return conn.WatchEventWithOptions(context.Background(), event,
		core.WithEventBufferSize(room), core.WithNotifBufferSize(room))
}
