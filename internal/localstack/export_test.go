package localstack

// Abandon drops the lock of a running server, as the death of its owner does where no Pdeathsig exists. It returns
// the server's process id.
func Abandon(p *Postgres) int {
	p.unlock()
	return p.PID()
}
