package journal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Codes of the server that the client has no name for.
const (
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeStorageExceeded       jetstream.ErrorCode = 10047
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeHeadersTooLarge       jetstream.ErrorCode = 10097
	codeStreamOffline         jetstream.ErrorCode = 10118
)

// meaning is what an answer to a publish says about the event.
type meaning int

const (
	// stored: acknowledged by our stream as new.
	stored meaning = iota + 1
	// duplicate: the message id was seen before, at the sequence of the answer.
	duplicate
	// raced: the expectation did not hold for this attempt. It may be our own earlier attempt that came first, so
	// nothing is called a conflict before the subject was read back.
	raced
	// full: there is no room; this attempt stored nothing.
	full
	// tooLarge: this attempt stored nothing and no other can.
	tooLarge
	// doubtful: the event may be stored, now or later.
	doubtful
	// alone: the batch was refused as a whole; the event has to be tried by itself.
	alone
	// unsent: nothing was published.
	unsent
)

// answer is what came back from one attempt to publish.
type answer struct {
	meaning meaning
	seq     uint64
	err     error
}

func answerOf(stream string, ack *jetstream.PubAck, err error) answer {
	switch {
	case err != nil:
		return answer{meaning: meaningOf(err), err: err}
	case ack.Stream != stream:
		return answer{meaning: doubtful, err: fmt.Errorf("stream %s acknowledged what was meant for %s", ack.Stream, stream)}
	case ack.Duplicate:
		return answer{meaning: duplicate, seq: ack.Sequence}
	}
	return answer{meaning: stored, seq: ack.Sequence}
}

func meaningOf(err error) meaning {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return doubtful
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return raced
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeadersTooLarge:
		return tooLarge
	case codeStorageExceeded, codeInsufficientResources:
		return full
	case codeStoreFailed:
		// Any failure of the store has this code; only this text means that there is no room.
		if strings.Contains(api.Description, "maximum bytes exceeded") {
			return full
		}
	}
	return doubtful
}
