package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
)

func Example() {
	ctx := context.Background()
	c, err := client.Connect(ctx, client.Config{URL: "nats://127.0.0.1:4222", Token: client.StaticToken(os.Getenv("REFOLD_TOKEN"))})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	app := "notes"
	made, err := c.Do(ctx, commands.Wish{
		Key:     "note-17", // the same key always makes the same memory
		Command: commands.AddMemory{Content: "likes tea", App: &app},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Do(ctx, commands.Wish{Command: commands.ArchiveMemory{ID: *made.ID}})
	switch refused, isRefused := errors.AsType[*client.RefusedError](err); {
	case isRefused:
		fmt.Println("not stored:", refused.Code)
	case errors.Is(err, client.ErrUnavailable):
		fmt.Println("not stored for now: send it again with the same key")
	case errors.Is(err, client.ErrUnknown):
		fmt.Println("perhaps stored: send it again with the same key")
	}
}

func ExampleBatcher() {
	ctx := context.Background()
	c, err := client.Connect(ctx, client.Config{URL: "nats://127.0.0.1:4222", Token: client.StaticToken(os.Getenv("REFOLD_TOKEN"))})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	b := client.NewBatcher(c, client.BatcherConfig{})
	defer b.Close()
	// From many goroutines:
	if _, err := b.Do(ctx, commands.Wish{Command: commands.AddMemory{Content: "likes tea"}}); err != nil {
		log.Print(err)
	}
}
