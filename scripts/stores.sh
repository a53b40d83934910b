#!/usr/bin/env bash
# Makes sure that refold can start a PostgreSQL: DATABASE_URL, local binaries or Docker. As root on Debian, where none
# of these is there, it installs Debian's package; its own cluster is not touched and may be left stopped.
set -euo pipefail

found() {
  [ -n "${DATABASE_URL:-}" ] && return 0
  command -v postgres >/dev/null && return 0
  compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null && return 0
  compgen -G '/usr/pgsql-*/bin/postgres' >/dev/null && return 0
  compgen -G '/opt/homebrew/opt/postgresql@*/bin/postgres' >/dev/null && return 0
  compgen -G '/usr/local/opt/postgresql@*/bin/postgres' >/dev/null && return 0
  command -v docker >/dev/null && docker info >/dev/null 2>&1
}

found && exit 0
if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
  echo "no PostgreSQL found: installing Debian's package"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # The package would start a cluster of its own; refold makes a private one instead.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  apt-get install -y -qq postgresql >/dev/null
  found && exit 0
fi
cat >&2 <<'EOF'
no PostgreSQL found. One of these helps:
  Debian, Ubuntu   sudo apt-get install -y postgresql
  macOS            brew install postgresql@18
  anywhere         export DATABASE_URL=postgres://user:password@host/database
  Docker           start it; refold keeps its data in a named volume
EOF
exit 1
