package localstack

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// serverLogger hands nats-server's lines to slog and keeps the fatal one: the server reports a failed start through
// its log only.
type serverLogger struct {
	logger *slog.Logger

	mu     sync.Mutex
	failed error
}

func newServerLogger(logger *slog.Logger) *serverLogger {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &serverLogger{logger: logger}
}

func (l *serverLogger) Noticef(format string, v ...any) { l.logger.Debug(line(format, v)) }
func (l *serverLogger) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		return // they were generated, stand in a file of mode 0600, and never leave this machine
	}
	l.logger.Warn(line(format, v))
}
func (l *serverLogger) Errorf(format string, v ...any) { l.logger.Error(line(format, v)) }
func (l *serverLogger) Debugf(format string, v ...any) { l.logger.Debug(line(format, v)) }
func (l *serverLogger) Tracef(string, ...any)          {}

// Fatalf does not end the process: whoever started the server decides.
func (l *serverLogger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.failed = fmt.Errorf(format, v...)
	l.mu.Unlock()
	l.logger.Error(line(format, v))
}

func (l *serverLogger) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func line(format string, v []any) string { return "nats: " + fmt.Sprintf(format, v...) }
