package config

import (
	"regexp"
	"strings"
)

// known says of the settings that clients of the replaced system have, by JSON Pointer, which are secrets. A setting that
// is none may hold prose, so that its name and words that look like an assignment do not make it one; texts in the form of
// a known secret are sealed everywhere.
var known = map[string]bool{
	"/openmemory/custom_instructions":         false,
	"/mem0/llm/config/api_key":                true,
	"/mem0/llm/config/ollama_base_url":        false,
	"/mem0/embedder/config/api_key":           true,
	"/mem0/embedder/config/ollama_base_url":   false,
	"/mem0/vector_store/config/api_key":       true,
	"/mem0/vector_store/config/password":      true,
	"/mem0/vector_store/config/collection":    false,
	"/mem0/vector_store/config/connection":    true,
	"/mem0/graph_store/config/password":       true,
	"/mem0/graph_store/config/custom_prompt":  false,
	"/mem0/custom_fact_extraction_prompt":     false,
	"/mem0/custom_update_memory_prompt":       false,
	"/mem0/graph_store/config/username":       false,
	"/mem0/vector_store/config/url":           false,
	"/mem0/vector_store/config/host":          false,
	"/mem0/vector_store/config/client_secret": true,
}

// Names are compared in lower case and without what separates words.
var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

var (
	// secretEnds are how names of secrets end. What has such a name has to be a text.
	secretEnds = []string{"key", "secret", "token", "password", "passwd", "passphrase", "credential", "credentials", "authorization"}
	// secretParts make a text a secret wherever they are in its name; other values may have such names (password_min_length).
	secretParts = []string{"password", "passwd", "passphrase", "secret", "credential", "apikey", "accesskey", "privatekey", "authtoken", "accesstoken", "connectionstring"}
	// secretNames are names of secrets when nothing is around them.
	secretNames = []string{"pass", "pwd", "auth", "sig", "signature", "pat", "jwt", "cookie", "setcookie", "bearer", "dsn", "connstr", "sas", "kubeconfig"}
)

func plainName(name string) string { return strings.ToLower(separators.Replace(name)) }

// mustBeSecret reports whether what has this name is a secret whatever it is.
func mustBeSecret(name string) bool {
	name = plainName(name)
	for _, end := range secretEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// isSecretName reports whether a text of this name is a secret, whatever it says.
func isSecretName(name string) bool {
	if mustBeSecret(name) {
		return true
	}
	name = plainName(name)
	for _, one := range secretNames {
		if name == one || strings.HasSuffix(name, "db"+one) {
			return true
		}
	}
	for _, part := range secretParts {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// forms are those of secrets that give themselves away.
var forms = regexp.MustCompile(strings.Join([]string{
	`://[^/?#\s@]*:[^/?#\s]*@`,                               // an address with a password
	`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`,                       // PEM, PGP, OpenSSH
	`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.`,            // JWT
	`(?i)\b(bearer|basic)\s+[a-z0-9._~+/-]{8,}=*(\s|$|["'])`, // a header of HTTP
	`\b(sk|xai|pplx|tvly|nvapi)-[A-Za-z0-9_-]{20,}`,          // OpenAI, Anthropic and others
	`\b(gh[pousr]|github_pat|gsk|hf|npm|r8|dop_v1|lin_api|whsec|shpat|[sr]k_live|[sr]k_test)_[A-Za-z0-9_]{16,}`,
	`\bkey-[0-9a-f]{32}\b`, // Mailgun
	`\b(glpat|xox[a-z]|xapp|AGE-SECRET-KEY|ntn|pypi)-[A-Za-z0-9_-]{10,}`,
	`\b(AKIA|ASIA)[A-Z0-9]{16}\b`,                                          // AWS
	`\bAIza[A-Za-z0-9_-]{30,}`,                                             // Google
	`\bya29\.[A-Za-z0-9_-]{10,}`,                                           // Google, OAuth
	`\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`,                         // SendGrid
	`\bhv[sbr]\.[A-Za-z0-9_-]{10,}`,                                        // Vault
	`\bS[AUONCX][A-Z2-7]{56}\b`,                                            // seeds of nkeys
	`\b[0-9]{8,10}:[A-Za-z0-9_-]{35}\b`,                                    // Telegram
	`(?i)://hooks\.slack\.com/|://[a-z.]*discord(app)?\.com/api/webhooks/`, // addresses that are passwords
}, "|"))

// assignments are name=value, as connection strings, queries of URLs and files of environment variables have it, and, for a
// line of its own, name: value, as headers have it.
var assignments = []*regexp.Regexp{
	regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*[^\s;&=]`),
	regexp.MustCompile(`(?m)^\s*"?([A-Za-z][A-Za-z0-9_.-]*)"?\s*:\s*\S`),
}

// looksSecret reports whether a text says by itself that it is, or holds, a secret.
func looksSecret(text string) bool {
	if forms.MatchString(text) {
		return true
	}
	for _, assignment := range assignments {
		for _, m := range assignment.FindAllStringSubmatch(text, -1) {
			if isSecretName(m[1]) {
				return true
			}
		}
	}
	return false
}

// isSecret decides about a text at a place.
func isSecret(at place, text string) bool {
	secret, listed := known[at.pointer]
	switch {
	case secret || forms.MatchString(text):
		return true
	case listed:
		return false
	}
	return isSecretName(at.name) || looksSecret(text)
}
