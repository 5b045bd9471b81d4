"""Tries whether the requests of several clients are counted together, and still get their answers."""

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError

from libs.messaging.requests import Requests


async def test_requests_of_several_clients_are_one_count_and_arguments_and_errors_pass() -> None:
    requests = Requests()
    clients = [AIOKafkaClient(bootstrap_servers="127.0.0.1:1") for _ in range(2)]
    for client in clients:
        requests.count(client)
    answers = []
    for client in (*clients, clients[0]):
        try:
            await client.send(7, object())
        except NodeNotReadyError as error:
            answers.append("node id 7" in str(error))
    assert answers == [True, True, True]
    assert requests.sent == 3
