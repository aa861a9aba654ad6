package main

import (
	"context"
	"fmt"
	"time"

	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/core"
)

// ping sends control pings, each after the reply to the one before.
func ping(ctx context.Context, conn *core.Connection, pings int) error {
	client := memclnt.NewServiceClient(conn)
	start := time.Now()
	for range pings {
		if _, err := client.ControlPing(ctx, &memclnt.ControlPing{}); err != nil {
			return err
		}
	}
	fmt.Printf("%d pings, %.0f per second\n", pings, float64(pings)/time.Since(start).Seconds())
	return nil
}
