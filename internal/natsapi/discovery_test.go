package natsapi_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events/commands"
)

// TestDiscovery asks as `nats micro` does, in the account of producers.
func TestDiscovery(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
	wantProblem(t, ann.do("k", commands.AddMemory{Content: "d"}), "key_reused", 422)
	ann.batch(commands.Wish{Key: "k2", Command: commands.AddMemory{Content: "c"}}, commands.Wish{Key: "k3", Command: commands.ArchiveMemory{ID: uuid.New()}})
	ann.batchOf(`{}`)
	conn, err := s.plane.Stack.ConnectProducers()
	check(t, err)
	defer conn.Close()
	var ping micro.Ping
	request(t, conn, "$SRV.PING", &ping)
	if ping.Name != "refold-commands" || ping.Type != micro.PingResponseType {
		t.Errorf("ping: %+v", ping)
	}
	var info micro.Info
	request(t, conn, "$SRV.INFO.refold-commands", &info)
	if len(info.Endpoints) != 2 || info.Endpoints[0].Subject != "cmd.*.*.*" || info.Endpoints[1].Subject != "cmd.*.batch" || info.Endpoints[0].Metadata["response"] != "Result" {
		t.Errorf("info: %+v", info)
	}
	var stats micro.Stats
	request(t, conn, "$SRV.STATS.refold-commands", &stats)
	if len(stats.Endpoints) != 2 {
		t.Fatalf("stats: %+v", stats)
	}
	for i, want := range []map[string]int64{
		{"requests": 2, "errors": 1, "accepted": 1, "refused": 1, "unknown": 0, "dropped": 0}, // alone
		{"requests": 2, "errors": 1, "accepted": 1, "refused": 1, "unknown": 0, "dropped": 0}, // in batches
	} {
		var got map[string]int64
		check(t, json.Unmarshal(stats.Endpoints[i].Data, &got))
		// Each has waited for the journal, or at least for the verification of its token.
		took, average := got["processing_time"], got["average_processing_time"]
		if stats.Endpoints[i].NumRequests != 2 || took <= int64(time.Microsecond) || average != took/2 {
			t.Errorf("stats: %+v: %s", stats.Endpoints[i], stats.Endpoints[i].Data)
		}
		delete(got, "processing_time")
		delete(got, "average_processing_time")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("endpoint %d (-want +got):\n%s", i, diff)
		}
	}
}

func request(t *testing.T, conn *nats.Conn, subject string, into any) {
	t.Helper()
	answer, err := conn.Request(subject, nil, patience)
	check(t, err)
	check(t, json.Unmarshal(answer.Data, into))
}
