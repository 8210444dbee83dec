#!/bin/sh
# Makes the secrets of compose.yaml in ./secrets, each once: what is there stays. Only you can enter the folder; the files in
# it can be read, because containers read them as users of their own.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 0700 secrets
cd secrets

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
new() { test -e "$1" || { printf %s "$2" > "$1"; chmod 0644 "$1"; }; }

new admin-api-key "$(random 32)"
new secret-key "$(random 32)"
new metrics-token "$(random 24)"
new postgres-password "$(random 24)"
new grafana-password "$(random 12)"
new store-access-key-id "$(random 10)"
new store-secret-access-key "$(random 24)"
new database-url "postgresql://s4:$(cat postgres-password)@postgres/s4"
new store-identities "{\"identities\": [{\"name\": \"s4\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"],
  \"credentials\": [{\"accessKey\": \"$(cat store-access-key-id)\", \"secretKey\": \"$(cat store-secret-access-key)\"}]}]}"
