"""`python -m devstack.topics <order id> [--json]`: an order's messages, from the stack that runs or a broker that is named."""

import os
import sys

from devstack.layout import Layout
from devstack.records import read_json
from libs.messaging.__main__ import main as messaging


def main(arguments: list[str]) -> int:
    """Look at KAFKA_BOOTSTRAP_SERVERS, else at the broker that stack.json names."""
    if not arguments:
        sys.stderr.write("Which order? For instance: make topics o=0199a1b2-…\n")
        return 2
    layout = Layout.from_environ()
    servers = layout.external_kafka or read_json(layout.stack_file).get("kafka_bootstrap")
    if servers is None:
        sys.stderr.write(
            f"No stack runs in {layout.folder}: `make up` starts it, STACK_DIR names another one,"
            " KAFKA_BOOTSTRAP_SERVERS a broker.\n"
        )
        return 1
    return messaging(["order", *arguments], {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
