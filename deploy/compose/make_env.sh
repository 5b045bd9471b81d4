#!/bin/sh
# Writes .env for docker-compose.yml: random passwords, and ports that are PORT_OFFSET above the usual ones.
# What is in it already stays as it is: the databases' volumes were made with those passwords. ENV_FILE names another
# file, which `docker compose --env-file` takes, or COMPOSE_ENV_FILES.
set -eu
umask 077
cd "$(dirname "$0")/../.."
file=${ENV_FILE:-.env}
offset=${PORT_OFFSET:-0}
touch $file

random() { # BYTES, as hexadecimal digits: nothing in it needs quoting in a URL
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

add() { # NAME VALUE, where the name has no line yet
    grep -q "^$1=" $file || printf '%s=%s\n' "$1" "$2" >>$file
}

port() { # NAME PORT
    [ "$offset" = 0 ] || add "$1" $(($2 + offset))
}

add POSTGRES_PASSWORD "$(random 24)"
for service in GATEWAY ORDER_SAGA ORDER PRODUCT INVENTORY PAYMENT ORDER_HISTORY; do
    add "${service}_OWNER_PASSWORD" "$(random 24)"
    add "${service}_RUNTIME_PASSWORD" "$(random 24)"
done
add SIGNING_KEY_SECRET "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"
add OPERATOR_EMAIL operator@example.com
add OPERATOR_PASSWORD "$(random 24)"
add GRAFANA_PASSWORD "$(random 24)"

port GATEWAY_PORT 8081
port ORDER_SAGA_PORT 8082
port ORDER_PORT 8083
port PRODUCT_PORT 8084
port INVENTORY_PORT 8085
port PAYMENT_PORT 8086
port ORDER_HISTORY_PORT 8087
port CARD_PROVIDER_PORT 8088
port KAFKA_UI_PORT 8080
port KAFKA_PORT 9092
port KAFKA_2_PORT 9094
port KAFKA_3_PORT 9096
port POSTGRES_PORT 5432
port POSTGRES_GATEWAY_PORT 5433
port POSTGRES_ORDER_SAGA_PORT 5434
port POSTGRES_ORDER_PORT 5435
port POSTGRES_PRODUCT_PORT 5436
port POSTGRES_INVENTORY_PORT 5437
port POSTGRES_PAYMENT_PORT 5438
port POSTGRES_ORDER_HISTORY_PORT 5439
port PROMETHEUS_PORT 9090
port GRAFANA_PORT 3000
echo "$file has passwords and ports; next: docker compose up -d --wait"
