"""The gateway: no topic is read here; what is accepted over HTTP goes through the outbox."""

from gateway import api
from gateway.api import intents
from gateway.api.openapi import describe
from gateway.settings import GatewaySettings
from gateway.store.keys import PublicKeys
from libs.service.service import Service

service: Service[None] = Service(
    name="gateway",
    api=api.router,
    middleware=api.middleware,
    describe=describe,
    keys=PublicKeys,
    workers=[intents.settle, intents.tidy],
    settings=GatewaySettings,
)
