package natsapi

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
)

const (
	admissionSubject = "$SYS.REQ.USER.AUTH"
	// refusalDelay makes whoever is refused wait, so that connecting again and again costs nobody else much. A server gives
	// up after two seconds.
	refusalDelay = 500 * time.Millisecond
	// subscriptionsMax bounds what a producer's connection may listen to: one inbox, and some for tools that make more.
	subscriptionsMax = 64
)

// Admission tells a NATS server who may connect as a producer: whoever shows a bearer token that the plane takes, as
// token or as password. Such a connection may publish to the commands of its tenant, listen to the inbox of its user, and
// nothing else; it ends with the token, when that is revoked, when its tenant is removed, and after a day.
type Admission struct {
	key      nkeys.KeyPair
	account  string
	admitted admitted
}

// NewAdmission signs with the account key of this seed, which the server has as auth_callout.issuer, and admits into
// the account.
func NewAdmission(seed, account string) (*Admission, error) {
	key, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, fmt.Errorf("key of producers: %w", err)
	}
	if public, err := key.PublicKey(); err != nil || !nkeys.IsValidPublicAccountKey(public) {
		return nil, fmt.Errorf("key of producers: not an account key (%w)", err)
	}
	return &Admission{key: key, account: account}, nil
}

// answer answers the server's questions until the subscription is drained.
func (a *Admission) answer(ctx context.Context, conn *nats.Conn, verifier Verifier, logger *slog.Logger) (*nats.Subscription, error) {
	return conn.QueueSubscribe(admissionSubject, queueGroup, func(m *nats.Msg) {
		answer, refused, err := a.decide(ctx, string(m.Data), verifier)
		if err != nil {
			logger.WarnContext(ctx, "admission of a producer", "error", err)
			return // the server gives up soon and lets nobody in
		}
		respond := func() {
			if err := m.Respond([]byte(answer)); err != nil && ctx.Err() == nil {
				logger.WarnContext(ctx, "admission of a producer", "error", err)
			}
		}
		if refused {
			time.AfterFunc(refusalDelay, respond)
			return
		}
		respond()
	})
}

// decide answers a server's request with a signed yes or no; refused is true of a no.
func (a *Admission) decide(ctx context.Context, request string, verifier Verifier) (text string, refused bool, err error) {
	asked, err := jwt.DecodeAuthorizationRequestClaims(request)
	if err != nil {
		return "", false, err
	}
	answer := jwt.NewAuthorizationResponseClaims(asked.UserNkey)
	answer.Audience = asked.Server.ID
	token := asked.ConnectOptions.Token
	if token == "" {
		token = asked.ConnectOptions.Password
	}
	principal, err := verifier.Verify(ctx, token)
	// The verifier allows for clocks that differ; a connection ends at the time itself, so it would end at once.
	if err != nil || principal.Operator || verifier.Standing(principal) != nil || time.Now().Unix() >= principal.Expires.Unix() {
		answer.Error = "a bearer token of this plane is needed, as token or as password"
		text, err = answer.Encode(a.key)
		return text, true, err
	}
	if a.admitted.isBanned(principal, time.Now()) {
		answer.Error = "this user has sent too many messages without a reply: come again in " + floodBan.String()
		text, err = answer.Encode(a.key)
		return text, true, err
	}
	if most := time.Now().Add(connectionMax); principal.Expires.After(most) {
		principal.Expires = most
	}
	if answer.Jwt, err = a.userOf(asked.UserNkey, principal).Encode(a.key); err != nil {
		return "", false, err
	}
	a.admitted.add(connection{asked.Server.ID, asked.ClientInformation.ID}, principal)
	text, err = answer.Encode(a.key)
	return text, false, err
}

// userOf is what a principal may do on its connection.
func (a *Admission) userOf(nkey string, p auth.Principal) *jwt.UserClaims {
	inbox := commands.InboxPrefix(p.Tenant, p.Subject)
	user := jwt.NewUserClaims(nkey)
	user.Name = p.Tenant + inbox[len("_INBOX."+p.Tenant):] // it is shown by tools, so it holds no login
	user.Audience = a.account
	user.Expires = p.Expires.Unix()
	user.Pub.Allow.Add("cmd." + p.Tenant + ".>")
	user.Sub.Allow.Add(inbox + ".>")
	user.Subs = subscriptionsMax
	return user
}
