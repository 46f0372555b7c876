import logging

import numpy as np
import pytest
from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedjoint.transport.app_node import HOLDER_KEY
from fedjoint.transport.inline import InlineGrid

SECRET = "patient 17"


def echo_app():
    """Doubles what it gets and says who it is."""
    app = ClientApp()

    @app.query()
    def double(message, context):
        (values,) = message.content.array_records["in"].to_numpy_ndarrays()
        context.state["count"] = ArrayRecord([np.array([len(context.state) + 1])])
        content = RecordDict({"out": ArrayRecord([2 * values])})
        content["out"][context.node_config[HOLDER_KEY]] = content["out"]["0"]
        return Message(content, reply_to=message)

    @app.query("fail")
    def fail(message, context):
        raise ValueError(SECRET)

    return app


def message(node, values=(1.0, 2.0), kind="query"):
    return Message(RecordDict({"in": ArrayRecord([np.array(values)])}), dst_node_id=node, message_type=kind)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def grid(heard):
    return InlineGrid(echo_app(), ["ahus", "bern"], tap=lambda *what: heard.append(what))


def test_it_is_a_flower_grid_with_one_node_for_each_holder(grid):
    assert isinstance(grid, Grid)
    assert grid.nodes.keys() == {"ahus", "bern"} and list(grid.get_node_ids()) == list(grid.nodes.values())


def test_each_holder_gets_its_own_message_and_answers_it(grid):
    sent = [message(node, (float(node),)) for node in grid.nodes.values()]
    for reply, (holder, node) in zip(grid.send_and_receive(sent), grid.nodes.items(), strict=True):
        assert reply.metadata.src_node_id == node
        assert reply.content["out"]["0"].numpy().tolist() == [2.0 * node]
        assert holder in reply.content["out"]


def test_replies_name_the_message_they_answer(grid):
    (identifier,) = grid.push_messages([message(grid.nodes["ahus"])])
    (reply,) = grid.pull_messages([identifier])
    assert reply.metadata.reply_to_message_id == identifier
    assert reply.metadata.message_id not in ("", identifier)


def test_a_reply_is_pulled_once_and_unknown_messages_have_none(grid):
    identifiers = grid.push_messages([message(grid.nodes["ahus"])])
    assert len(list(grid.pull_messages(identifiers))) == 1
    assert list(grid.pull_messages([*identifiers, "unknown"])) == []


def test_a_holder_works_when_its_reply_is_pulled_and_not_before(grid, heard):
    identifiers = grid.push_messages([message(node) for node in grid.nodes.values()])
    replies = grid.pull_messages(identifiers)
    next(replies)
    assert [holder for direction, holder, _, _ in heard if direction == "up"] == ["ahus"]


def test_the_tap_hears_all_bytes_in_both_directions(grid, heard):
    values = np.random.default_rng(0).normal(size=50)
    (reply,) = grid.send_and_receive([message(grid.nodes["bern"], values)])
    (down, up) = heard
    assert down[:3] == ("down", "bern", "query") and up[:3] == ("up", "bern", "query")
    assert values.tobytes() in down[3] and (2 * values).tobytes() in up[3]
    assert (2 * values).tobytes() not in down[3]
    assert reply.content["out"]["0"].numpy().tolist() == (2 * values).tolist()


def test_what_arrives_is_a_copy_that_went_through_the_wire_format(grid):
    sent = message(grid.nodes["ahus"])
    seen = []
    grid._app = lambda got, context: seen.append(got) or Message(got.content, reply_to=got)
    list(grid.send_and_receive([sent]))
    assert seen[0] is not sent and seen[0].content is not sent.content
    assert seen[0].content["in"]["0"].numpy().tolist() == [1.0, 2.0]


def test_a_large_array_arrives_whole_though_flower_cuts_it_into_chunks(grid):
    values = np.arange(1_500_000, dtype=float)  # 12 MB, in chunks of 5 MiB
    (reply,) = grid.send_and_receive([message(grid.nodes["ahus"], values)])
    assert np.array_equal(reply.content["out"]["0"].numpy(), 2 * values)


def test_nodes_keep_their_own_state(grid):
    for _ in range(2):
        list(grid.send_and_receive([message(grid.nodes["ahus"])]))
    assert "count" in grid._contexts[grid.nodes["ahus"]].state
    assert "count" not in grid._contexts[grid.nodes["bern"]].state


def test_a_holder_out_of_reach_never_hears_the_message(heard):
    grid = InlineGrid(
        echo_app(), ["ahus"], tap=lambda *what: heard.append(what), reachable=lambda holder, message_type: False
    )
    (reply,) = grid.send_and_receive([message(grid.nodes["ahus"])])
    assert reply.has_error() and "'ahus' does not answer" in reply.error.reason
    assert heard == []


@pytest.mark.parametrize("kind", ["query.fail", "query.unknown", "train"])
def test_an_app_that_raises_is_an_error_reply_as_between_machines_without_its_text(grid, heard, caplog, kind):
    with caplog.at_level(logging.CRITICAL):
        (reply,) = grid.send_and_receive([message(grid.nodes["ahus"], kind=kind)])
    assert (reply.error.code, reply.error.reason) == (2, "ValueError")
    assert [direction for direction, _, _, _ in heard] == ["down", "up"]
    assert not any(SECRET.encode() in data for _, _, _, data in heard)


def test_the_tap_hears_refusals_too():
    heard = []
    app = ClientApp()

    @app.query()
    def refuse(message, context):
        return Message(Error(7, "these words leave the holder"), reply_to=message)

    grid = InlineGrid(app, ["ahus"], tap=lambda *what: heard.append(what))
    list(grid.send_and_receive([message(grid.nodes["ahus"])]))
    assert b"these words leave the holder" in heard[-1][3]
