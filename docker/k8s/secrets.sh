#!/bin/sh
# Makes the secrets of the overlays `bus` and `cassandra` and prints them for kubectl:
#
#     docker/k8s/secrets.sh | kubectl apply --namespace safe-chat -f -
set -eu

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

service=$(random)
cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: safe-chat
stringData:
  nats_login: nats://service:$service@nats:4222
  ops_password: $(random)
---
apiVersion: v1
kind: Secret
metadata:
  name: nats
stringData:
  nats_passwords: |
    SERVICE_PASSWORD: "$service"
END
