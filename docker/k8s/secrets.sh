#!/bin/sh
# Makes the secrets of the overlays `bus` and `cassandra` and prints them for kubectl:
#
#     docker/k8s/secrets.sh | kubectl apply --namespace safe-chat -f -
set -eu

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

gateway=$(random)
writer=$(random)
cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: safe-chat
stringData:
  ops_password: $(random)
---
apiVersion: v1
kind: Secret
metadata:
  name: safe-chat-gateway
stringData:
  nats_login: nats://gateway:$gateway@nats:4222
---
apiVersion: v1
kind: Secret
metadata:
  name: safe-chat-writer
stringData:
  nats_login: nats://writer:$writer@nats:4222
---
apiVersion: v1
kind: Secret
metadata:
  name: nats
stringData:
  nats_passwords: |
    GATEWAY_PASSWORD: "$gateway"
    WRITER_PASSWORD: "$writer"
END
