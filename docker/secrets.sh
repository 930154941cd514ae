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

# The addresses of the nats-servers with a login.
servers() {
  login=
  for server in nats-1 nats-2 nats-3; do
    login="$login${login:+,}nats://$1:$2@$server:4222"
  done
  echo "$login"
}

if [ ! -e nats_passwords ]; then
  route=$(random)
  routes=
  for server in nats-1 nats-2 nats-3; do
    routes="$routes${routes:+, }\"nats://route:$route@$server:6222\""
  done
  cat > nats_passwords <<END
OPERATOR_PASSWORD: "$(random)"
ADMIN_PASSWORD: "$(random)"
MONITORING_PASSWORD: "$(random)"
ROUTE_PASSWORD: "$route"
ROUTES: [$routes]
END
fi
# Each party of nodes has a login; passwords may be from before there was one for each.
grep -q ADMIN_PASSWORD nats_passwords || echo "ADMIN_PASSWORD: \"$(random)\"" >> nats_passwords
for file in nats_login nats_gateway nats_writer; do
  user=${file#nats_}
  [ $user = login ] && user=service
  name=$(echo $user | tr a-z A-Z)_PASSWORD
  if ! grep -q "^$name" nats_passwords; then
    password=$(random)
    echo "$name: \"$password\"" >> nats_passwords
    servers $user "$password" > $file
  fi
done
for name in ops_password grafana_password; do
  [ -e $name ] || random > $name
done
# compose.cluster.yaml starts nothing without this file.
echo '# docker/secrets.sh was run: the secrets are beside this file.' > run-docker-secrets-sh-first.env
echo "secrets are in $(pwd)"
