#!/bin/sh
# Makes the passwords of compose.cluster.yaml, in docker/secrets/, which git ignores. What is there
# stays: `rm -r docker/secrets` before, and start everything again, for new ones.
set -eu
cd "$(dirname "$0")"
# Containers read the files as their own users, so the folder keeps others of this machine out.
umask 022
mkdir -p secrets
chmod 700 secrets
cd secrets

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

if [ ! -e nats_passwords ] || [ ! -e nats_login ]; then
  service=$(random)
  route=$(random)
  login=
  routes=
  for server in nats-1 nats-2 nats-3; do
    login="$login${login:+,}nats://service:$service@$server:4222"
    routes="$routes${routes:+, }\"nats://route:$route@$server:6222\""
  done
  cat > nats_passwords <<END
SERVICE_PASSWORD: "$service"
OPERATOR_PASSWORD: "$(random)"
ADMIN_PASSWORD: "$(random)"
MONITORING_PASSWORD: "$(random)"
ROUTE_PASSWORD: "$route"
ROUTES: [$routes]
END
  echo "$login" > nats_login
fi
# Made before there was such a user.
grep -q ADMIN_PASSWORD nats_passwords || echo "ADMIN_PASSWORD: \"$(random)\"" >> nats_passwords
for name in ops_password grafana_password; do
  [ -e $name ] || random > $name
done
# compose.cluster.yaml starts nothing without this file.
echo '# docker/secrets.sh was run: the secrets are beside this file.' > run-docker-secrets-sh-first.env
echo "secrets are in $(pwd)"
