package main

import "github.com/spf13/cobra"

const issuersHelp = `Whose tokens are believed: serve --issuers issuers.json, beside those that "refold token mint" makes.

{"issuers": [
  {"issuer": "https://login.example.com/", "audience": "refold", "jwks": "https://login.example.com/jwks.json", "tenants": ["*"]},
  {"issuer": "old-system", "audience": "refold", "keys": "old.jwks.json", "tenants": ["acme", "blue"]},
  {"issuer": "https://ops.example.com/", "audience": "refold", "jwks": "https://ops.example.com/jwks.json", "operator": true}
]}

issuer    must equal the claim iss
audience  must be one of the claim aud; for agents that is --mcp-url, whatever stands here
jwks      where its public keys are: https, or http on this machine. They are read again every 15 minutes, and for a key
          that is not known, at most once in 30 s. While the issuer cannot be reached, the keys of before are believed for a day
keys      a file with a key set instead, or as well; relative to this file. Only here a secret may stand (kty oct, alg HS256,
          32 bytes and more), in a file that nobody else can read
tenants   for which it may speak; ["*"] = all. Without it an issuer is refused, unless it speaks for operators alone
operator  true: its tokens with the org_id "_plane" are those of operators of the plane, who are of no tenant. Their scopes
          (admin:read, admin:write, backup:read, backup:write) open /v1/admin. In the token of a tenant the same scopes open
          nothing there, whoever wrote them into it
app_claim name of the claim, such as "client_id", with the app that a token is bound to: each of its tokens must have it then.
          Without this it is the claim "app", which a token may lack

A token is a JWT (typ JWT or at+jwt) signed with RS256, PS256, ES256, ES384, EdDSA or, from a file, HS256, by the algorithm of
its key and no other, with the claims iss, aud, exp, iat, sub (the user), org_id (the tenant), jti, and scope (separated by
spaces). It lives for at most 90 days. Any header beside alg, kid and typ is refused. "refold token revoke" takes back its tokens,
too: by their jti, or all that were issued to a sub or for an org_id until some time.
`

func issuersTopic() *cobra.Command {
	return &cobra.Command{Use: "issuers", Short: "Whose tokens are believed, and what is in them", Long: issuersHelp}
}
