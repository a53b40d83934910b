package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

const (
	scanMemories  = 120
	scanPageCount = 20
	scanPause     = 60 * time.Millisecond // between two pages: a list takes a good while
)

// fill gives the scanning client its memories, which nobody changes afterwards.
func (c *client) fill(count int) {
	for range count {
		c.count++
		c.add(map[string]string{"Idempotency-Key": fmt.Sprintf("%s-%d", c.subject, c.count)})
	}
}

// scan reads the whole list again and again, slowly, page by page. A list may end with 410 edition_gone, and is then
// begun again; one that comes to its end holds every memory once, in order, and all of its pages are of one edition.
func (c *client) scan(ctx context.Context) {
	for ctx.Err() == nil {
		switch c.scanOnce(ctx) {
		case scanned:
			c.account.both(func(t *tally) { t.scans++ })
		case gone:
			c.account.both(func(t *tally) { t.restarts++ })
		case broken: // counted already; not again and again at once
			select {
			case <-ctx.Done():
			case <-time.After(scanPause):
			}
		}
	}
}

type scanResult int

const (
	scanned scanResult = iota
	gone
	broken
)

func (c *client) scanOnce(ctx context.Context) scanResult {
	var all []memory
	edition, cursor := "", ""
	for ctx.Err() == nil {
		path := fmt.Sprintf("/v1/memories?limit=%d", scanPageCount)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		a := c.send(http.MethodGet, path, map[string]string{positionName: c.position, "Prefer": waitPrefer}, nil)
		if cursor != "" && a.err == nil && c.isGone(a) {
			c.account.answered(false, a.took)
			return gone
		}
		var page struct {
			Items []memory `json:"items"`
			Next  string   `json:"next_cursor"`
		}
		if !c.ok(a, "read a page") || !c.parse(a, &page) {
			return broken
		}
		c.forward(a, "read a page")
		of := a.header.Get("Refold-Edition")
		if edition != "" && of != edition {
			c.account.fail("a list that began on edition %s has a page of edition %s: %s", edition, of, a)
			return broken
		}
		edition, cursor = of, page.Next
		all = append(all, page.Items...)
		if cursor == "" {
			return c.whole(all)
		}
		select {
		case <-ctx.Done():
		case <-time.After(scanPause):
		}
	}
	return broken // it was not to be read to its end
}

// isGone says whether a cursor was refused as the contract says.
func (c *client) isGone(a answer) bool {
	var problem struct {
		Code string `json:"code"`
	}
	return a.status == http.StatusGone && c.parse(a, &problem) && problem.Code == "edition_gone"
}

// whole holds a list against what was acknowledged.
func (c *client) whole(all []memory) scanResult {
	seen := map[uuid.UUID]memory{}
	for i, m := range all {
		if _, twice := seen[m.ID]; twice {
			c.account.fail("a list has %s twice", m.ID)
		}
		if i > 0 && m.CreatedAt.After(all[i-1].CreatedAt) {
			c.account.fail("a list is out of order at %d", i)
		}
		seen[m.ID] = m
	}
	if len(seen) != len(c.notes) {
		c.account.fail("a list has %d memories, want %d", len(seen), len(c.notes))
	}
	for _, n := range c.notes {
		if m := seen[n.ID]; m.Content != n.Content || m.Version != n.Version {
			c.account.fail("a list has %+v, want %+v", m, *n)
		}
	}
	return scanned
}
