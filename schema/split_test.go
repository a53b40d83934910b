package schema_test

import (
	"errors"
	"fmt"
	"strings"
)

// statement is SQL as a list of tokens: words in lower case, quoted names as they are, strings as 'x', one sign each
// for the rest. Comments are gone.
type statement []string

// split takes a file apart at its semicolons, but not at those in strings, names, dollar quotes and comments.
func split(sql string) ([]statement, error) {
	var all []statement
	var now statement
	for len(sql) > 0 {
		token, rest, err := next(sql)
		if err != nil {
			return nil, err
		}
		sql = rest
		switch {
		case token == "":
		case token == ";":
			if len(now) > 0 {
				all = append(all, now)
			}
			now = nil
		default:
			now = append(now, token)
			if len(now) > 1 && token == "atomic" && now[len(now)-2] == "begin" {
				return nil, errors.New("BEGIN ATOMIC: write the body of a function as a quoted text")
			}
		}
	}
	if len(now) > 0 {
		return nil, fmt.Errorf("no semicolon after: %s", strings.Join(now, " "))
	}
	return all, nil
}

// next returns the first token of a text and what follows it; the token of blanks and comments is empty.
func next(sql string) (token, rest string, err error) {
	switch c := sql[0]; {
	case strings.HasPrefix(sql, "--"):
		_, rest, _ := strings.Cut(sql, "\n")
		return "", rest, nil
	case strings.HasPrefix(sql, "/*"):
		rest, err := afterComment(sql)
		return "", rest, err
	case c == '\'':
		rest, err := afterQuote(sql[1:], '\'', false)
		return "'x'", rest, err
	case (c == 'e' || c == 'E') && strings.HasPrefix(sql[1:], "'"):
		rest, err := afterQuote(sql[2:], '\'', true)
		return "'x'", rest, err
	case c == '"':
		rest, err := afterQuote(sql[1:], '"', false)
		return sql[:len(sql)-len(rest)], rest, err
	case c == '$':
		if tag := dollarTag(sql); tag != "" {
			_, rest, found := strings.Cut(sql[len(tag):], tag)
			if !found {
				return "", "", fmt.Errorf("%s is not closed", tag)
			}
			return "'x'", rest, nil
		}
		return sql[:1], sql[1:], nil
	case isWord(c):
		end := 1
		for end < len(sql) && (isWord(sql[end]) || sql[end] == '$') {
			end++
		}
		return strings.ToLower(sql[:end]), sql[end:], nil
	case strings.IndexByte(" \t\r\n\f", c) >= 0:
		return "", sql[1:], nil
	}
	return sql[:1], sql[1:], nil
}

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// afterComment skips a comment; comments nest.
func afterComment(sql string) (string, error) {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return sql[i+1:], nil
			}
		}
	}
	return "", errors.New("a comment is not closed")
}

// afterQuote skips to behind the closing quote; a doubled one belongs to the text.
func afterQuote(sql string, quote byte, escapes bool) (string, error) {
	for i := 0; i < len(sql); i++ {
		switch {
		case escapes && sql[i] == '\\':
			i++
		case sql[i] == quote && i+1 < len(sql) && sql[i+1] == quote:
			i++
		case sql[i] == quote:
			return sql[i+1:], nil
		}
	}
	return "", fmt.Errorf("a %c is not closed", quote)
}

// dollarTag returns the tag that a text begins with, such as $$ or $body$; empty when it is a parameter.
func dollarTag(sql string) string {
	for i := 1; i < len(sql); i++ {
		switch {
		case sql[i] == '$':
			return sql[:i+1]
		case !isWord(sql[i]) || i == 1 && '0' <= sql[i] && sql[i] <= '9':
			return ""
		}
	}
	return ""
}
