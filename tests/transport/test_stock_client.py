"""A stock Flower client that sends its update in the clear: refused by name, and nobody else is disturbed."""

from contextlib import ExitStack

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.messages import BLOBS
from fedjoint.flower.server_app import make_server_app
from fedjoint.training.plan import TASKS
from fedjoint.transport.grpc_grid import GrpcGrid, serve_app
from fedjoint.transport.holder_grid import run_server_app
from tests.fakes import complete, make_consortium, train
from tests.network import Network, node


def stock_app(how):
    """Answers each task as a Flower tutorial would: parameters as arrays, and a count of examples."""
    app = ClientApp()

    def fit(message, context):
        weights = Array(np.arange(4, dtype=np.float32))
        content = {
            "a tutorial's reply": {
                "arrays": ArrayRecord({"w": weights}),
                "metrics": MetricRecord({"examples": 20}),
            },
            "the right record's name": {BLOBS: ArrayRecord({"frame": weights})},
            "no record at all": {},
        }[how]
        return Message(RecordDict(content), reply_to=message)

    for kind in TASKS:
        (app.train() if kind == "train" else app.query(kind))(fit)
    return app


@pytest.mark.parametrize("how", ["a tutorial's reply", "the right record's name", "no record at all"])
def test_a_client_that_sends_its_update_in_the_clear_is_refused_and_the_others_train(how):
    network, consortium, runs = Network(), make_consortium(), []
    grid = GrpcGrid(list(consortium.holders))
    with network.server(grid.on_reply) as server, ExitStack() as nodes:
        grid.serve_through(server)
        for name, holder in consortium.holders.items():
            app = stock_app(how) if name == "cork" else make_client_app(lambda _, holder=holder: holder)
            nodes.enter_context(node(server.port, network.credentials(name), serve_app(app, name)))
        coordinate = make_server_app(
            lambda channel: runs.append(train(consortium, channel)), lambda found: found.nodes, timeout_s=60
        )
        run_server_app(coordinate, grid)
    (run,) = runs
    assert run.contributors == [("ahus", "bern")] * 3
    others = complete(make_consortium(), reachable=lambda kind, holder, body: holder != "cork")
    assert [model.tobytes() for model in run.models] == [model.tobytes() for model in others.models]


def test_a_holder_that_turns_to_plaintext_in_a_round_is_refused_with_a_code():
    """It joined as it should; its update then has no frame."""
    network, consortium, runs = Network(), make_consortium(), []
    grid = GrpcGrid(list(consortium.holders))
    stock = stock_app("a tutorial's reply")

    def serving(name):
        real = make_client_app(lambda _: consortium.holders[name])
        return lambda message, context: (stock if message.metadata.message_type == "train" else real)(message, context)

    with network.server(grid.on_reply) as server, ExitStack() as nodes:
        grid.serve_through(server)
        for name, holder in consortium.holders.items():
            app = serving("cork") if name == "cork" else make_client_app(lambda _, holder=holder: holder)
            nodes.enter_context(node(server.port, network.credentials(name), serve_app(app, name)))
        coordinate = make_server_app(
            lambda channel: runs.append(train(consortium, channel)), lambda found: found.nodes, timeout_s=60
        )
        run_server_app(coordinate, grid)
    assert runs[0].contributors == [("ahus", "bern")] * 3
    assert {summary.refusals["cork"].code for summary in runs[0].rounds} == {"reply.malformed"}
