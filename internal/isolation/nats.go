package isolation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
)

// NATS attacks over NATS, where producers come in: by commands about what others have, by commands in another tenant's
// name, and by listening and publishing where no producer may. Close it at the end.
type NATS struct {
	URL string
	// Options are further ones of the connections, such as TLS.
	Options []nats.Option
	// Silence is how long a complaint of the server may take until it counts as none; 0 = 2 s.
	Silence time.Duration

	mu    sync.Mutex
	links map[string]*link // by token
}

// link is the connection of one attacker, who asks one question at a time.
type link struct {
	conn     *nats.Conn
	prefix   string // of the attacker's own inbox
	inbox    *nats.Subscription
	faults   chan error
	standing []*nats.Subscription // what he should not hear, if he was let
	silence  time.Duration
}

// Patience over NATS.
const (
	replyMax       = 20 * time.Second
	silenceDefault = 2 * time.Second
	faultsMax      = 64
	standingMax    = 32
	overheardMax   = 1000
)

// What becomes of what nobody may do.
const (
	denied    = "denied: "
	noSubject = "no subject"
)

// Name implements Prober.
func (n *NATS) Name() string { return "NATS" }

// Close ends all connections.
func (n *NATS) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.conn.Close()
	}
}

// Own implements Prober: memories with texts, an app and a category that nobody else has.
func (n *NATS) Own(ctx context.Context, as Identity) (*Belongings, error) {
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	c, err := client.Connect(ctx, client.Config{URL: n.URL, Token: client.StaticToken(as.Token), Options: n.Options})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	own := &Belongings{Tenant: as.Tenant}
	app, category := own.mark(r), own.mark(r)
	for range 3 {
		result, err := c.Do(ctx, commands.Wish{Key: client.NewKey(), Command: commands.AddMemory{
			Content: own.mark(r) + " " + own.mark(r), App: &app, Categories: []string{category},
		}})
		if err != nil {
			return nil, err
		}
		own.IDs, own.Sealed = append(own.IDs, result.ID.String()), append(own.Sealed, result.Position)
	}
	return own, nil
}

func (n *NATS) link(as Identity) (*link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.links[as.Token]; l != nil {
		return l, nil
	}
	l := &link{prefix: commands.InboxPrefix(as.Tenant, as.User), faults: make(chan error, faultsMax), silence: cmp.Or(n.Silence, silenceDefault)}
	var err error
	l.conn, err = nats.Connect(n.URL, append(slices.Clone(n.Options), nats.Token(as.Token), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case l.faults <- err:
		default: // nobody asks any more
		}
	}))...)
	if err != nil {
		return nil, err
	}
	if l.inbox, err = l.conn.SubscribeSync(l.prefix + ".>"); err != nil {
		return nil, errors.Join(err, l.conn.Flush())
	}
	if n.links == nil {
		n.links = map[string]*link{}
	}
	n.links[as.Token] = l
	return l, nil
}

// said is what is sent to a server: a message, or the wish to listen.
type said struct {
	operation string
	listen    bool // rather than publish
	answered  bool // a command of the attacker's own tenant, which is allowed and answered; nothing else is
	subject   string
	header    nats.Header
	body      string
}

// Probe implements Prober.
func (n *NATS) Probe(ctx context.Context, seed uint64, as Identity, foreign, absent *Belongings) (e Exchange, err error) {
	l, err := n.link(as)
	if err != nil {
		return e, err
	}
	one, two := n.make(seed, as, foreign), n.make(seed, as, absent)
	e.Operation = one.operation
	if e.Foreign, err = l.ask(ctx, one, foreign); err == nil {
		e.Absent, err = l.ask(ctx, two, absent)
	}
	return e, err
}

// ask says something and returns all that came back, with what has been overheard since.
func (l *link) ask(ctx context.Context, s said, about *Belongings) (Answer, error) {
	for earlier := true; earlier; { // faults of another question
		select {
		case _, earlier = <-l.faults:
		default:
			earlier = false
		}
	}
	var outcome string
	var received []byte
	var err error
	if s.listen {
		outcome, err = l.listen(s.subject)
	} else {
		outcome, received, err = l.request(ctx, s)
	}
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Asked: fmt.Sprint(s.subject, "\n", s.header, "\n", s.body), Compared: about.hidden(outcome)}
	answer.Received = append(append([]byte(outcome), received...), l.overheard()...)
	if !s.answered && outcome != noSubject && !strings.HasPrefix(outcome, denied) {
		answer.Wrong = "allowed to " + s.operation
	}
	return answer, nil
}

// listen subscribes, and goes on listening where the server does not complain.
func (l *link) listen(subject string) (outcome string, err error) {
	sub, err := l.conn.SubscribeSync(subject)
	if errors.Is(err, nats.ErrBadSubject) {
		return noSubject, nil
	}
	if err != nil {
		return "", err
	}
	if err := l.conn.Flush(); err != nil {
		return "", err
	}
	if fault := l.complaint(); fault != nil {
		_ = sub.Unsubscribe() // the server has forgotten it
		return denied + fault.Error(), nil
	}
	if len(l.standing) < standingMax {
		l.standing = append(l.standing, sub)
	}
	return "let listen", nil
}

func (l *link) complaint() error {
	select {
	case fault := <-l.faults:
		return fault
	case <-time.After(l.silence):
		return nil
	}
}

// request sends a message and waits for a reply or for a complaint.
func (l *link) request(ctx context.Context, s said) (outcome string, received []byte, err error) {
	reply := l.prefix + "." + uuid.NewString()
	if err := l.conn.PublishMsg(&nats.Msg{Subject: s.subject, Reply: reply, Header: s.header, Data: []byte(s.body)}); err != nil {
		if errors.Is(err, nats.ErrBadSubject) {
			return noSubject, nil, nil
		}
		return "", nil, err
	}
	patience := l.silence
	if s.answered {
		patience = replyMax
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	replies := make(chan *nats.Msg, 1)
	go func() {
		defer close(replies)
		for {
			m, err := l.inbox.NextMsgWithContext(ctx)
			if errors.Is(err, nats.ErrNoResponders) {
				replies <- &nats.Msg{Subject: reply, Data: []byte(err.Error())}
				return
			}
			if err != nil {
				return
			}
			if m.Subject == reply {
				replies <- m
				return
			}
		}
	}()
	defer func() { // the next question has the inbox to itself
		cancel()
		for range replies {
		}
	}()
	select {
	case fault := <-l.faults:
		return denied + fault.Error(), nil, nil
	case m := <-replies:
		if m == nil && s.answered {
			return "", nil, fmt.Errorf("no answer to %s within %s", s.operation, replyMax)
		}
		if m == nil {
			return "silence", nil, nil
		}
		text := fmt.Sprint(m.Header, "\n", string(m.Data))
		if strings.Contains(text, `"outcome":"accepted"`) {
			return "accepted", []byte(text), nil // each makes something else
		}
		return text, []byte(text), nil
	}
}

// overheard returns what came in where the attacker should not be able to listen.
func (l *link) overheard() (out []byte) {
	for _, sub := range l.standing {
		for range overheardMax {
			m, err := sub.NextMsg(time.Microsecond)
			if err != nil {
				break
			}
			out = append(out, fmt.Sprint(m.Subject, " ", m.Header, "\n", string(m.Data), "\n")...)
		}
	}
	return out
}

// Where no producer may listen or publish; {t} is a tenant, {id} an id, {u} the inbox of a user of the tenant.
var (
	forbiddenToHear = []string{
		"cmd.{t}.>", "cmd.>", "ev.>", "ev.0.{t}.>", "ev.*.{t}.memory.{id}", ">", "*", "*.{t}.>", "_INBOX.>", "_INBOX.{t}.>", "_INBOX.*.>", "{u}.>",
		"$JS.API.>", "$SYS.>", "$SRV.>", "$KV.>",
	}
	forbiddenToSay = []string{
		"cmd.{t}.memory.new", "cmd.{t}.memory.{id}", "cmd.{t}.app.{id}", "cmd.{t}.batch", "ev.0.{t}.memory.{id}", "{u}.x", "$JS.API.STREAM.NAMES",
		"$JS.API.INFO", "$JS.API.DIRECT.GET.{t}", "$SYS.REQ.SERVER.PING", "$SRV.INFO", "_INBOX.{t}.{id}",
	}
	// forbiddenToNeighbours are what users of one tenant must not hear of each other, nor say to each other.
	forbiddenToNeighbours = []string{"{u}.>", "{u}.x", "_INBOX.{t}.>", "ev.0.{t}.memory.{id}"}
	// What is stored names nobody else's ids: else they were the attacker's own from then on.
	commandsAboutOne = []struct{ name, body string }{
		{"memory.archive", ""}, {"memory.pause", ""}, {"memory.activate", ""}, {"memory.delete", ""}, {"memory.undelete", ""}, {"memory.restore", `{"version":1}`}, {"memory.change", `{"content":"probe"}`},
		{"app.change", `{"description":"probe"}`}, {"app.pause", ""}, {"app.activate", ""}, {"user.change", `{"metadata":{"probe":1}}`},
		{"app.rule-access", `{"rule":"{id}","object_type":"memory","object_id":"{id}","effect":"allow"}`}, {"app.withdraw-access", `{"rule":"{id}"}`},
		{"archive-policy.change", `{"criteria":"app","criteria_id":"{id}","days":3650}`}, {"archive-policy.withdraw", ""},
		{"memory.add", `{"content":"probe"}`}, {"archive-policy.make", `{"criteria":"global","days":36500}`},
	}
)

// make makes something to say out of a seed: two of one seed differ in whose belongings they name, and in nothing else.
func (n *NATS) make(seed uint64, as Identity, about *Belongings) said {
	r := rand.New(rand.NewPCG(seed, 3))
	c := commandsAboutOne[r.IntN(len(commandsAboutOne))]
	fill := strings.NewReplacer("{t}", about.Tenant, "{id}", pickID(r, about), "{u}", commands.InboxPrefix(about.Tenant, "owner"))
	key, sealed := client.NewKey(), about.Sealed[r.IntN(len(about.Sealed))]
	s := said{answered: true, body: fill.Replace(c.body), header: nats.Header{
		commands.HeaderCommand: {c.name}, commands.HeaderKey: {key}, commands.HeaderVersion: {commands.AnyVersion},
	}}
	what, toHear, toSay := r.IntN(20), forbiddenToHear, forbiddenToSay
	if about.Tenant == as.Tenant {
		toHear, toSay = forbiddenToNeighbours, forbiddenToNeighbours
	}
	switch {
	case what == 0:
		subject := toHear[r.IntN(len(toHear))]
		return said{operation: "listen " + subject, listen: true, subject: fill.Replace(subject)}
	case what < 4:
		subject := toSay[r.IntN(len(toSay))]
		s.operation, s.subject, s.answered = "publish "+subject, fill.Replace(subject), false
	case what < 8:
		s.operation, s.subject = "batch "+c.name, "cmd."+as.Tenant+".batch"
		s.body = fmt.Sprintf(`{"commands":[{"command":%q,"key":%q,"id":%q,"version":"*","body":%s}]}`, c.name, key, pickID(r, about), orNull(s.body))
	case what < 9:
		s.operation, s.subject, s.body = "garbage", "cmd."+as.Tenant+".memory."+pickID(r, about), sealed
	default:
		s.operation, s.subject = c.name, "cmd."+as.Tenant+"."+commands.EntityOf(c.name)+"."+pickID(r, about)
		if commands.Makes(c.name) {
			s.subject = "cmd." + as.Tenant + "." + commands.EntityOf(c.name) + ".new"
		}
	}
	return s
}

func orNull(body string) string {
	if body == "" {
		return "null"
	}
	return body
}
