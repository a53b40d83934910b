package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/spf13/cobra"
)

type sqlReaderView struct {
	Login    string `json:"login"`
	Tenant   string `json:"tenant,omitempty"`
	Password string `json:"password,omitempty"` // only when it was made here
	Host     string `json:"host,omitempty"`     // or the folder of a Unix socket
	Port     int    `json:"port,omitempty"`
	Database string `json:"database,omitempty"`
	Psql     string `json:"psql,omitempty"` // a command that connects; it asks for the password
	Hint     string `json:"hint,omitempty"`
}

// at fills in how the login connects.
func (v *sqlReaderView) at(a localstack.ReaderAddress) {
	v.Host, v.Port, v.Database = a.Host, a.Port, a.Database
	v.Psql = fmt.Sprintf("psql -h %s -p %d -d %s -U %s", shellWord(a.Host), a.Port, shellWord(a.Database), shellWord(v.Login))
	if a.Socket {
		v.Hint = "that socket is open to the user of the stack alone: `refold serve --postgres-listen 127.0.0.1:5433` lets others of this machine in"
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:-]+$`)

func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (v *sqlReaderView) rows(w *tabwriter.Writer) {
	if v.Password != "" {
		row(w, fmt.Sprintf("password %s (kept nowhere, shown this once)", v.Password))
	}
	if v.Psql == "" {
		return
	}
	row(w, fmt.Sprintf("host %s, port %d, database %s, user %s", v.Host, v.Port, v.Database, v.Login))
	row(w, v.Psql)
	if v.Hint != "" {
		row(w, v.Hint)
	}
}

func (c *cli) sqlReader() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sql-reader", Short: "Let people read a tenant's rows by SQL",
		Long: "A SQL reader is a login of the database that sees the rows of one tenant, through views, and can write nothing.\n" +
			"New sessions read the live edition; an open one stays with its edition until that is retired.\n" +
			"docs/sql-readers.md says what such a login can learn and do at most.",
	}
	cmd.AddCommand(c.sqlReaderCreate(), c.sqlReaderList(), c.sqlReaderPassword(), c.sqlReaderDrop())
	return group(cmd)
}

func (c *cli) sqlReaderCreate() *cobra.Command {
	var tenant string
	var stdin bool
	cmd := &cobra.Command{
		Use: "create [LOGIN] --tenant TENANT", Short: "Create a login that belongs to a tenant permanently", Args: cobra.MaximumNArgs(1),
		Long: "Create a login that belongs to a tenant permanently, and print how it connects.\n\n" +
			"Every login of a PostgreSQL server sees the names of all others: without LOGIN the name is random and tells nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if tenant == "" {
				return usageError{errors.New("sql-reader create needs --tenant")}
			}
			login := postgres.NewLogin()
			if len(args) > 0 {
				login = args[0]
			}
			password, view, err := choosePassword(cmd.InOrStdin(), stdin, sqlReaderView{Login: login, Tenant: tenant})
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if _, err := p.Directory.Tenant(cmd.Context(), tenant); err != nil {
					return fmt.Errorf("tenant %s: %w", tenant, err)
				}
				if err := p.DB.CreateSQLReader(cmd.Context(), login, tenant, password); err != nil {
					return readerRefusal(err)
				}
				address, err := p.Stack.ReaderAddress()
				if err != nil {
					return fmt.Errorf("the login is made, how it connects is not known: %w", err)
				}
				view.at(address)
				return c.show(view, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("login %s reads the rows of tenant %s", view.Login, tenant))
					view.rows(w)
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "tenant the login belongs to")
	variable(cmd.Flags(), "tenant", "REFOLD_TENANT")
	passwordFlag(cmd, &stdin)
	return cmd
}

func (c *cli) sqlReaderPassword() *cobra.Command {
	var stdin bool
	cmd := &cobra.Command{
		Use: "password LOGIN", Short: "Give a login another password; open sessions stay", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, view, err := choosePassword(cmd.InOrStdin(), stdin, sqlReaderView{Login: args[0]})
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.DB.SetSQLReaderPassword(cmd.Context(), args[0], password); err != nil {
					return readerRefusal(err)
				}
				return c.show(view, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("login %s has another password", view.Login))
					view.rows(w)
				})
			})
		},
	}
	passwordFlag(cmd, &stdin)
	return cmd
}

func (c *cli) sqlReaderDrop() *cobra.Command {
	return &cobra.Command{
		Use: "drop LOGIN", Short: "Remove a login and end its sessions", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.DB.DropSQLReader(cmd.Context(), args[0]); err != nil {
					return readerRefusal(err)
				}
				return c.show(sqlReaderView{Login: args[0]}, func(w *tabwriter.Writer) { row(w, fmt.Sprintf("login %s is gone", args[0])) })
			})
		},
	}
}

func (c *cli) sqlReaderList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the logins, their tenants and what new sessions read", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				all, err := p.DB.SQLReaders(cmd.Context())
				if err != nil {
					return err
				}
				return c.show(all, func(w *tabwriter.Writer) {
					row(w, "LOGIN", "TENANT", "SCHEMA", "CREATED")
					for _, r := range all {
						row(w, r.Login, r.Tenant, r.Schema, r.Created.Format(time.RFC3339))
					}
				})
			})
		},
	}
}

func passwordFlag(cmd *cobra.Command, stdin *bool) {
	cmd.Flags().BoolVar(stdin, "password-stdin", false, "take the password from the first line of stdin instead of making one")
}

// choosePassword makes a password, to be shown once, or reads one, which is not shown.
func choosePassword(in io.Reader, stdin bool, view sqlReaderView) (string, sqlReaderView, error) {
	if !stdin {
		view.Password = postgres.NewPassword()
		return view.Password, view, nil
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", view, fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), view, nil
}

// readerRefusal tells what is not allowed from what went wrong.
func readerRefusal(err error) error {
	for _, refusal := range []error{postgres.ErrLoginExists, postgres.ErrNoLogin, postgres.ErrLoginName, postgres.ErrPassword, postgres.ErrReaderRights} {
		if errors.Is(err, refusal) {
			return command.Refuse(command.Invalid, "%s", err)
		}
	}
	return err
}
